/**
 * Every token of a workspace, a line each, twenty at a time.
 *
 *     TOK_SERVER=https://git.example.com TOK_TOKEN=… node dist/examples/paging.js acme
 */
import { TokClient } from "../src/index.js";

const [workspace] = process.argv.slice(2);

const client = new TokClient();
for await (const token of client.tokens({ page_size: 20, ...(workspace ? { workspace } : {}) })) {
  console.log(`${token.token_prefix}…  ${token.name} (${token.kind}, ${token.permission ?? token.scopes.join(" ")})`);
}
