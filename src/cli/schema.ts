import { configurationJsonSchema } from "../config/schema-findings.ts";
import { defineCommand } from "./command.ts";

export default defineCommand({
  args: "",
  argsAbout: {},
  details:
    "Editors with a YAML or JSON language server complete and check a configuration with it. Put this line on top of spillway.yaml:\n  # yaml-language-server: $schema=./spillway.schema.json",
  options: {},
  examples: ["spillway schema > spillway.schema.json"],
  async run({ terminal }) {
    terminal.out(`${JSON.stringify(configurationJsonSchema(), null, 2)}\n`);
    return 0;
  },
});
