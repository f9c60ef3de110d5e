// Clients in some cities ask; then Busan asks for more than Seoul has room for; then Seoul is lost.
//     node examples/nearest-backend/clients.mjs [PORT of Spillway]
const url = `http://127.0.0.1:${process.argv[2] ?? 8080}/`;

const cities = {
  Busan: { "x-latitude": "35.18", "x-longitude": "129.08" },
  Lisbon: { "x-latitude": "38.72", "x-longitude": "-9.14" },
  Boston: { "x-latitude": "42.36", "x-longitude": "-71.06" },
  // Nobody says where: the default of the configuration counts.
  nowhere: {},
};

async function ask(city) {
  const response = await fetch(url, { headers: cities[city] });
  const [region, port] = (await response.text()).trim().split(" ");
  return { region, port };
}

let seoulsPort;
for (const city of Object.keys(cities)) {
  const { region, port } = await ask(city);
  if (region === "seoul") seoulsPort = port;
  console.log(`${city}: ${region}`);
}

const answers = await Promise.all(["Busan", "Busan", "Busan", "Busan"].map(ask));
console.log(`four from Busan at once: ${answers.map(({ region }) => region).sort()}`);

await fetch(`http://127.0.0.1:${seoulsPort}/stop`, { method: "POST" });
console.log(`Busan, without Seoul: ${(await ask("Busan")).region}`);
