/**
 * A token for one CI job: one repository, to push to, for one hour.
 *
 *     TOK_SERVER=https://git.example.com TOK_TOKEN=… node dist/examples/ci-token.js acme/app 4711
 *
 * The token's text alone is on stdout, so that it can be handed to the job.
 */
import { TokClient } from "../src/index.js";

const [repository, job] = process.argv.slice(2);
if (!repository || !job) {
  console.error("usage: ci-token <workspace/repository> <job>");
  process.exit(2);
}

const client = new TokClient();
const { secret, token } = await client.createToken({
  name: `ci-${job}`,
  kind: "repo",
  permission: "write",
  repos: [repository],
  ttl_hours: 1,
});
console.error(`${token.token_prefix}… for ${token.repo_allowlist.join(", ")}, until ${token.expires_at}`);
console.log(secret);
