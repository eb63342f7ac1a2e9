import createClient, { type Client } from "openapi-fetch";

import { TokError } from "./error.js";
import type { paths } from "./schema.js";
import type {
  CreatedToken,
  CreateToken,
  ModifyToken,
  RestoredTokens,
  RevokedToken,
  RotatedToken,
  RotateToken,
  TokenPage,
  TokenRecord,
  Whoami,
} from "./types.js";

/** Where the server is and who is calling. */
export interface ClientOptions {
  /** The server's URL, as in `https://git.example.com`. Default: the variable `TOK_SERVER`. */
  readonly server?: string;
  /** The token to call with. Default: the variable `TOK_TOKEN`. Never logged, and sent to `server` alone. */
  readonly token?: string;
  /** Another `fetch`, for instance with a proxy or a certificate authority of one's own. */
  readonly fetch?: typeof globalThis.fetch;
}

/** Which tokens a list is about, and which page of it. */
export type ListTokensQuery = NonNullable<paths["/v1/tokens"]["get"]["parameters"]["query"]>;

/** What openapi-fetch answers with. */
interface Answer<T> {
  readonly data?: T;
  readonly error?: unknown;
  readonly response: Response;
}

/** A server, seen by one caller. */
export class TokClient {
  /** Every path of the API, typed: for what has no method of its own here. It answers with `data` or `error`. */
  readonly http: Client<paths>;

  constructor(options: ClientOptions = {}) {
    const server = options.server ?? process.env["TOK_SERVER"];
    const token = options.token ?? process.env["TOK_TOKEN"];
    if (!server) {
      throw new TypeError("which server? Give `server`, or set TOK_SERVER to its URL");
    }
    if (!token) {
      throw new TypeError("who is calling? Give `token`, or set TOK_TOKEN to an access token");
    }
    const { protocol, hostname } = new URL(server);
    if (protocol !== "https:" && !["localhost", "127.0.0.1", "[::1]"].includes(hostname)) {
      throw new TypeError(`a token is sent over https only, or to this machine: not to ${server}`);
    }
    this.http = createClient<paths>({
      baseUrl: server.replace(/\/+$/, ""),
      headers: { authorization: `Bearer ${token}` },
      // A redirect would hand the token to whoever it points at.
      redirect: "error",
      ...(options.fetch ? { fetch: options.fetch } : {}),
    });
  }

  /**
   * Makes a token. The answer is the only place where its text ever appears.
   *
   * A key of your choice makes a retry safe: the same call with the same key leaves one live token.
   */
  async createToken(token: CreateToken, idempotencyKey: string = crypto.randomUUID()): Promise<CreatedToken> {
    return this.#done(
      await this.http.POST("/v1/tokens", { body: token, headers: { "idempotency-key": idempotencyKey } }),
    );
  }

  /** One page of the tokens that the caller may see, newest first. */
  async listTokens(query: ListTokensQuery = {}): Promise<TokenPage> {
    return this.#done(await this.http.GET("/v1/tokens", { params: { query } }));
  }

  /** Every token of a list, page after page; each page is asked for when it is needed. */
  async *tokens(query: ListTokensQuery = {}): AsyncGenerator<TokenRecord, void, undefined> {
    let cursor: string | null | undefined = query.cursor;
    do {
      const page: TokenPage = await this.listTokens(cursor ? { ...query, cursor } : query);
      yield* page.tokens;
      cursor = page.next_cursor;
    } while (cursor);
  }

  /** One token, by ID, ID prefix or token prefix. */
  async showToken(id: string): Promise<TokenRecord> {
    return this.#done(await this.http.GET("/v1/tokens/{id}", { params: { path: { id } } }));
  }

  /**
   * Changes a token: what is not said stays. With `version` it is changed only if it still has that version; else the
   * server answers 412, and nothing was changed.
   */
  async modifyToken(id: string, change: ModifyToken, version?: number): Promise<TokenRecord> {
    const headers = version === undefined ? {} : { "if-match": `"${version}"` };
    return this.#done(await this.http.PATCH("/v1/tokens/{id}", { params: { path: { id } }, body: change, headers }));
  }

  /**
   * Makes a successor with the same authority. The old token works until the successor is first used or the grace ends;
   * to use it after that ends them both.
   */
  async rotateToken(
    id: string,
    how: RotateToken = {},
    idempotencyKey: string = crypto.randomUUID(),
  ): Promise<RotatedToken> {
    const headers = { "idempotency-key": idempotencyKey };
    return this.#done(
      await this.http.POST("/v1/tokens/{id}/rotate", { params: { path: { id } }, body: how, headers }),
    );
  }

  /** Brings back a token that was revoked in the last 15 minutes, with all that ended by the same act. */
  async restoreToken(id: string): Promise<RestoredTokens> {
    return this.#done(await this.http.POST("/v1/tokens/{id}/restore", { params: { path: { id } } }));
  }

  /** Ends a token and all that were made through it, at once. */
  async revokeToken(id: string, reason?: string): Promise<RevokedToken> {
    const query = reason === undefined ? {} : { reason };
    return this.#done(await this.http.DELETE("/v1/tokens/{id}", { params: { path: { id }, query } }));
  }

  /** Who the caller is to the server, and what they may do. */
  async whoami(): Promise<Whoami> {
    return this.#done(await this.http.GET("/v1/whoami"));
  }

  #done<T>({ data, error, response }: Answer<T>): T {
    if (!response.ok || data === undefined) {
      throw new TokError(response.status, error);
    }
    return data;
  }
}
