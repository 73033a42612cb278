/**
 * What the fleet may ask of this vantage, and who may: votes and challenges from vantages; the manifest and overrides
 * from anybody, since they carry their own signature; status and decisions by those who may sign overrides. The
 * contract is docs/manifest.md.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import { vantagesOf } from '../fleet/manifest/manifest.ts';
import { overrideKeys, SIGNED_OVERRIDES_BYTES_MAX } from '../fleet/manifest/overrides.ts';
import { SIGNED_MANIFEST_BYTES_MAX } from '../fleet/manifest/signed.ts';
import { type Pin, pinOfEd25519 } from '../system/pinned-tls.ts';
import type { Result } from '../system/result.ts';
import {
  type Caller,
  CHALLENGES_PATH,
  DECISIONS_PATH,
  type FleetReply,
  type FleetRequest,
  MANIFEST_PATH,
  OVERRIDES_PATH,
  problem,
  type Route,
  STATUS_PATH,
  VOTE_PATH,
} from './adapters/fleet-port.ts';
import type { ChallengeRefusal } from './challenges.ts';
import { SIGNED_VOTE_BYTES_MAX, type VoteRefusal } from './core/vote.ts';
import type { Documents, Held } from './documents.ts';
import type { Events } from './events.ts';
import type { RelayReports } from './relay-reports.ts';

export interface FleetRoutesOptions {
  readonly self: SiteName;
  readonly documents: Documents;
  readonly events: Pick<Events, 'manifestRefused' | 'overridesRefused'>;
  /** Takes a signed vote from the vantage that the connection has proved. */
  readonly receiveVote: (
    signed: string,
    sender: SiteName,
  ) => Promise<Result<unknown, VoteRefusal | 'waiting'>>;
  /** Takes ACME challenges from the site that the connection has proved. */
  readonly receiveChallenges: (
    text: string,
    sender: SiteName,
  ) => Result<unknown, ChallengeRefusal | 'waiting'>;
  /** A JSON value. */
  readonly status: () => unknown;
  /** Lines of the decision log after line `n`, as many as fit in one answer. */
  readonly decisionsAfter: (n: number) => Promise<readonly string[]>;
  /** A relay of the own site says how it is. */
  readonly relaySays: RelayReports['note'];
}

const ANYBODY = ['vantage', 'relay', 'person', 'stranger'] as const;
const RELAY_HEADER = 'archipelago-relay';
const VERSION_HEADER = 'archipelago-manifest-version';
const LACKING_HEADER = 'archipelago-lacking';
/** As many as a manifest may name, and a name as long as it may be. */
const LACKING = /^[a-z][a-z0-9-]{0,15}(?:,[a-z][a-z0-9-]{0,15}){0,31}$/;

/** All routes of the port. */
export function fleetRoutes(options: FleetRoutesOptions): readonly Route[] {
  return [
    {
      method: 'POST',
      path: VOTE_PATH,
      callers: ['vantage'],
      bodyBytesMax: SIGNED_VOTE_BYTES_MAX,
      answer: async ({ body, caller }) => taken(await options.receiveVote(body, caller.name)),
    },
    {
      method: 'POST',
      path: CHALLENGES_PATH,
      callers: ['vantage'],
      bodyBytesMax: SIGNED_VOTE_BYTES_MAX,
      answer: ({ body, caller }) => taken(options.receiveChallenges(body, caller.name)),
    },
    ...documentRoutes(options),
    {
      method: 'GET',
      path: STATUS_PATH,
      callers: ['person'],
      answer: () => json(200, options.status()),
    },
    {
      method: 'GET',
      path: DECISIONS_PATH,
      callers: ['person'],
      answer: async ({ query }) => {
        const after = query.get('after') ?? '0';
        if (!/^\d{1,15}$/.test(after))
          return problem(400, 'after_malformed', 'after: expected a whole number');
        const lines = await options.decisionsAfter(Number(after));
        return {
          status: 200,
          headers: { 'content-type': 'application/jsonl' },
          body: lines.map((line) => `${line}\n`).join(''),
        };
      },
    },
  ];
}

function documentRoutes({ documents, events, ...options }: FleetRoutesOptions): readonly Route[] {
  return [
    {
      method: 'POST',
      path: MANIFEST_PATH,
      callers: ANYBODY,
      bodyBytesMax: SIGNED_MANIFEST_BYTES_MAX,
      answer: async ({ body }) => {
        const result = await documents.takeManifest(body);
        if (result.ok) return json(200, result.value);
        const { reason, detail } = result.fault;
        events.manifestRefused(reason, detail);
        return problem(409, reason, detail);
      },
    },
    {
      method: 'POST',
      path: OVERRIDES_PATH,
      callers: ANYBODY,
      bodyBytesMax: SIGNED_OVERRIDES_BYTES_MAX,
      answer: async ({ body }) => {
        const result = await documents.takeOverrides(body);
        if (result.ok) return json(200, result.value);
        const { reason, detail } = result.fault;
        events.overridesRefused(reason, detail);
        return problem(409, reason, detail);
      },
    },
    {
      method: 'GET',
      path: MANIFEST_PATH,
      callers: ANYBODY,
      answer: (request) => {
        noteRelay(request, options);
        return handOut(documents.held(), request);
      },
    },
  ];
}

function handOut(held: Held | undefined, { headers }: FleetRequest): FleetReply {
  if (held === undefined) return problem(404, 'no_manifest', 'this vantage waits for its first manifest');
  const { signed, overrides, tag } = held;
  if (headers['if-none-match'] === tag) return { status: 304, headers: { etag: tag } };
  const reply = json(200, { manifest: signed, overrides: overrides?.signed ?? null });
  return { ...reply, headers: { ...reply.headers, etag: tag } };
}

/** What a relay of the own site says of itself; a stranger may say what it likes. */
function noteRelay(
  { caller, headers }: FleetRequest,
  { self, relaySays }: Pick<FleetRoutesOptions, 'self' | 'relaySays'>,
): void {
  const [relay, version] = [headers[RELAY_HEADER], headers[VERSION_HEADER]];
  if (caller.kind !== 'relay' || caller.name !== self) return;
  if (typeof relay !== 'string' || !/^[\w-]{1,64}$/.test(relay)) return;
  if (typeof version !== 'string' || !/^\d{1,15}$/.test(version)) return;
  const lacking = String(headers[LACKING_HEADER] ?? '');
  relaySays(relay, { version: Number(version), lacking: LACKING.test(lacking) ? lacking.split(',') : [] });
}

function taken(result: Result<unknown, string>): FleetReply {
  return result.ok ? { status: 204 } : problem(409, result.fault);
}

function json(status: number, value: unknown): FleetReply {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

/** Whose key this is. The operators' is known before there is a manifest. */
export function callerWith(pin: Pin, held: Held | undefined, operatorsKey: string): Caller | undefined {
  if (held === undefined) {
    return pin === pinOfEd25519(operatorsKey) ? { kind: 'person', name: 'operators' } : undefined;
  }
  const { manifest } = held;
  const vantage = vantagesOf(manifest).find((one) => one.vantage.pins.includes(pin));
  if (vantage !== undefined) return { kind: 'vantage', name: vantage.name };
  const site = manifest.sites.find(({ relay }) => relay.pins.includes(pin));
  if (site !== undefined) return { kind: 'relay', name: site.name };
  const person = [...overrideKeys(manifest, operatorsKey)].find(([key]) => pinOfEd25519(key) === pin);
  return person === undefined ? undefined : { kind: 'person', name: person[1] };
}
