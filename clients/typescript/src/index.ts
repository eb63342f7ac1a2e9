/**
 * A thin, typed client of tokd's HTTP API.
 *
 * Every type comes from the daemon's OpenAPI document (`schema.ts` is generated; `./dev generate` writes it anew), so what
 * compiles here is what the server understands. {@link TokClient} has a method for each thing that is done often;
 * {@link TokClient.http} reaches every other path with the same types.
 */

export { TokClient } from "./client.js";
export type { ClientOptions, ListTokensQuery } from "./client.js";
export { TokError } from "./error.js";
export type { components, paths } from "./schema.js";
export type {
  CreatedToken,
  CreateToken,
  ModifyToken,
  Problem,
  RestoredTokens,
  RevokedToken,
  RotatedToken,
  RotateToken,
  TokenPage,
  TokenRecord,
  Whoami,
} from "./types.js";
