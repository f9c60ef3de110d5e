import { expect, test } from "vitest";
import { REFUSED } from "./fields.ts";
import { ResponseHead } from "./response-head.ts";

const parse = (text: string, method = "GET") => {
  const head = new ResponseHead({ headBytes: 32768, headFields: 100 });
  const bytes = Buffer.from(text, "latin1");
  const end = head.parse(bytes, 0, bytes.length, method);
  return { head, end, code: head.refusal?.code };
};

test("a reason of two letters is passed on as it is", () => {
  expect(parse("HTTP/1.1 200 OK\r\n\r\n").head.reason).toBe(" OK");
  expect(parse("HTTP/1.1 200 No\r\n\r\n").head.reason).toBe(" No");
});

test("an interim response that declares a body is refused: its body would be read as the final response", () => {
  for (const field of ["Content-Length: 5", "Transfer-Encoding: chunked"]) {
    const { end, code } = parse(`HTTP/1.1 103 Early Hints\r\n${field}\r\n\r\n`);
    expect([end, code]).toEqual([REFUSED, "interim-with-body"]);
  }
  expect(parse("HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n").code).toBeUndefined();
});

test("a connection whose 204 declares a body is not used again", () => {
  expect(parse("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").head).toMatchObject({
    framing: 0,
    keepAlive: false,
  });
  expect(parse("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").head.keepAlive).toBe(true);
  expect(parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").head).toMatchObject({
    framing: 0,
    length: 5,
    keepAlive: true,
  });
});
