/**
 * Why an attempt to get a certificate came to nothing, by name. What an authority says of its refusals (RFC 8555 §6.7)
 * is sorted by what a person has to do about it.
 */

export const ACME_FAULTS = [
  /** The authority does not answer, or says that it is in trouble itself. */
  'unreachable',
  /** What answers there does not speak ACME. */
  'not_acme',
  /** The authority wants to be asked later. */
  'rate_limited',
  /** The account is refused: terms, external account binding, a key that is not believed. */
  'account_refused',
  /** The authority will not issue for these names, this profile or this request. */
  'order_refused',
  /** A CAA record forbids it: another authority, or another account. */
  'caa_forbids',
  /** A nameserver that this vantage hears did not take the challenge, so the authority was not asked. */
  'not_published',
  /** The authority did not find the challenge in DNS. */
  'challenge_failed',
  /** What was issued does not fit the key or the names. */
  'wrong_certificate',
  /** It was not done within the time that an attempt may take. */
  'too_slow',
] as const;
export type AcmeFault = (typeof ACME_FAULTS)[number];

/** An attempt that came to nothing; the message is what the authority said, bounded. */
export class AcmeFailure extends Error {
  override readonly name = 'AcmeFailure';
  readonly fault: AcmeFault;
  /** How long the authority asked to wait, milliseconds; 0 when it did not say. */
  readonly retryAfterMs: number;
  constructor(fault: AcmeFault, message: string, retryAfterMs = 0) {
    super(message.replaceAll(/\s+/g, ' ').slice(0, MESSAGE_LENGTH_MAX));
    this.fault = fault;
    this.retryAfterMs = retryAfterMs;
  }
}

const MESSAGE_LENGTH_MAX = 400;

const BY_TYPE: Readonly<Record<string, AcmeFault>> = {
  accountDoesNotExist: 'account_refused',
  badPublicKey: 'account_refused',
  badSignatureAlgorithm: 'account_refused',
  externalAccountRequired: 'account_refused',
  invalidContact: 'account_refused',
  unsupportedContact: 'account_refused',
  userActionRequired: 'account_refused',
  caa: 'caa_forbids',
  connection: 'challenge_failed',
  dns: 'challenge_failed',
  incorrectResponse: 'challenge_failed',
  rateLimited: 'rate_limited',
  serverInternal: 'unreachable',
};

/** An error document of an authority (RFC 7807, RFC 8555 §6.7). */
export interface AcmeProblem {
  /** Without `urn:ietf:params:acme:error:`. */
  readonly type: string;
  readonly detail: string;
}

/** Reads a problem document, whatever it is; details of subproblems (RFC 8555 §6.7.1) stand beside the main one. */
export function readProblem(value: unknown): AcmeProblem {
  const { type, detail, subproblems } = objectOf(value);
  const details = [detail, ...listOf(subproblems).map((one) => objectOf(one)['detail'])];
  return {
    type: typeof type === 'string' ? (type.split(':').at(-1) ?? '') : '',
    detail: details.filter((one) => typeof one === 'string').join('; '),
  };
}

/** What a problem means; `otherwise` is for those that no person has to tell apart. */
export function faultOf({ type }: AcmeProblem, otherwise: AcmeFault): AcmeFault {
  return Object.hasOwn(BY_TYPE, type) ? (BY_TYPE[type] ?? otherwise) : otherwise;
}

/** The members of a JSON object; none of anything else. */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** The items of a JSON array; none of anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
