import type { Problem } from "./types.js";

/** The server said no, or could not answer. */
export class TokError extends Error {
  override readonly name = "TokError";
  /** The HTTP status. */
  readonly status: number;
  /** The problem as the server told it (RFC 9457); absent if what answered was not tokd. */
  readonly problem: Problem | undefined;

  constructor(status: number, body: unknown) {
    const problem = isProblem(body) ? body : undefined;
    const said = problem?.detail ?? problem?.title ?? `the server answered with status ${status}`;
    super(problem?.hint ? `${said}; ${problem.hint}` : said);
    this.status = status;
    this.problem = problem;
  }

  /** The stable word for programs, as in `not_found`. */
  get code(): string | undefined {
    return this.problem?.code;
  }
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "code" in body && "status" in body;
}
