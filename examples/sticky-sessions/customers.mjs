// Six customers fill their carts; then the server of the first one stops.
//     node examples/sticky-sessions/customers.mjs [PORT of Spillway]
const shop = `http://127.0.0.1:${process.argv[2] ?? 8080}`;

/** A customer with a browser, as far as cookies are concerned. */
class Customer {
  #cookies = new Map();

  /** Puts a thing into the cart, and answers with what is in it, and where. */
  async put(thing) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(`${shop}/cart/${thing}`, { method: "PUT", headers: { cookie } });
    for (const field of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(field);
      this.#cookies.set(name, value);
    }
    return (await response.text()).trim();
  }
}

const customers = Array.from({ length: 6 }, () => new Customer());

async function everybodyPuts(...things) {
  const answers = [];
  for (const [at, customer] of customers.entries()) {
    for (const thing of things) answers[at] = await customer.put(thing);
    console.log(`  customer ${at + 1}: ${answers[at]}`);
  }
  return answers;
}

console.log("all put three things into their carts:");
const [first] = await everybodyPuts("apples", "bread", "cheese");

const lost = first.split(" ")[0];
await fetch(`http://127.0.0.1:${lost}/stop`, { method: "POST" });
console.log(`server ${lost} stops; all put one more:`);
await everybodyPuts("dates");

console.log("and another one:");
await everybodyPuts("eggs");
