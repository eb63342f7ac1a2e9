/**
 * A token for a dashboard: a few repositories, only to read, for 30 days.
 *
 *     TOK_SERVER=https://git.example.com TOK_TOKEN=… node dist/examples/dashboard-token.js acme/metrics acme/deploy-configs
 */
import { TokClient } from "../src/index.js";

const repositories = process.argv.slice(2);
if (repositories.length === 0) {
  console.error("usage: dashboard-token <workspace/repository>...");
  process.exit(2);
}

const client = new TokClient();
const { secret, token } = await client.createToken({
  name: "dashboard-readonly",
  kind: "repo",
  permission: "read",
  repos: repositories,
  ttl_hours: 24 * 30,
});
console.error(`${token.token_prefix}… for ${token.repo_allowlist.join(", ")}, until ${token.expires_at}`);
console.log(secret);
