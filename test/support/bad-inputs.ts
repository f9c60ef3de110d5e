import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A row of docs/reference/bad-inputs.md. */
export interface BadInput {
  readonly input: string;
  /** What the user sees. */
  readonly seen: string;
  /** Third column: an exit code, a status. */
  readonly result: string;
}

const PAGE = fileURLToPath(new URL("../../docs/reference/bad-inputs.md", import.meta.url));

/** The rows of one section of the page, as they are shown: what is in the page is what is tested. */
export function badInputs(section: string): BadInput[] {
  const parts = readFileSync(PAGE, "utf8").split(/^## /m);
  const text = parts.find((part) => part.startsWith(`${section}\n`));
  if (text === undefined) throw new Error(`docs/reference/bad-inputs.md has no section "${section}"`);
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  return rows.map((row) => {
    const [input, seen, result] = row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map(plain) as [string, string, string];
    return { input, seen, result };
  });
}

/** A cell without what Markdown needs: code marks around it, backslashes before bars. */
function plain(cell: string): string {
  return cell
    .trim()
    .replace(/^(`+) ?(.*?) ?\1$/, "$2")
    .replaceAll("\\|", "|");
}
