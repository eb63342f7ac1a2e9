/** The records of the API by their own names. */
import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** What is asked for when a token is made. */
export type CreateToken = Schemas["CreateToken"];
/** A token that was just made: its text, shown this once, and its record. */
export type CreatedToken = Schemas["CreatedToken"];
/** A token as everybody but its maker sees it. */
export type TokenRecord = Schemas["TokenRecord"];
/** One page of a list, and the cursor of the next. */
export type TokenPage = Schemas["TokenPage"];
/** A successor: its text, shown this once, its record, and the token whose place it takes. */
export type RotatedToken = Schemas["RotatedToken"];
/** What shall be changed of a token; what is not said stays. */
export type ModifyToken = Schemas["ModifyToken"];
/** How a successor shall be. */
export type RotateToken = Schemas["RotateToken"];
/** What came back. */
export type RestoredTokens = Schemas["RestoredTokens"];
/** What ended. */
export type RevokedToken = Schemas["RevokedToken"];
/** Who the caller is to the server. */
export type Whoami = Schemas["Whoami"];
/** How a call failed (RFC 9457). */
export type Problem = Schemas["Problem"];
