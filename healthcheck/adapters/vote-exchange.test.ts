/**
 * Sender and receiver of votes, over real mutual TLS.
 */
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makePinnedIdentity } from '../../fleet/certificates.ts';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { connectPinned, type PinnedIdentity, pinOf } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { eventually } from '../../test/support/eventually.ts';
import { testManifest } from '../../test/support/manifests.ts';
import type { VoteRefusal } from '../core/vote.ts';
import { callerWith, fleetRoutes } from '../fleet-routes.ts';
import { type DoorRefusal, startFleetPort } from './fleet-port.ts';
import { createVoteSender, type PostOutcome, type VoteSender } from './vote-sender.ts';

const context = { wallMs: Date.now(), random: systemRandom };
const identities = {
  aws: await makePinnedIdentity(context, 'aws'),
  gcp: await makePinnedIdentity(context, 'gcp'),
  hetzner: await makePinnedIdentity(context, 'hetzner'),
};
type Site = keyof typeof identities;
const ADDRESSES: Readonly<Record<Site, string>> = {
  aws: '127.44.0.1',
  gcp: '127.44.0.2',
  hetzner: '127.44.0.3',
};

/** The fleet with its real pins; `ports` says where each vantage takes votes. */
function manifestWith(ports: Readonly<Partial<Record<Site, number>>>): Manifest {
  const base = testManifest(['aws', 'gcp', 'hetzner']);
  return {
    ...base,
    sites: base.sites.map((site) => {
      const name = site.name as Site;
      const pins = [pinOf(identities[name].publicKeySpki)];
      const votePort = ports[name] ?? 1;
      return { ...site, vantage: { ...site.vantage, ipv4: ADDRESSES[name], votePort, pins } };
    }),
  };
}

let resources: AsyncDisposableStack;
let received: { readonly at: Site; readonly text: string; readonly sender: string }[];
let doorRefusals: DoorRefusal[];
let verdict: Result<undefined, VoteRefusal>;

beforeEach(() => {
  resources = new AsyncDisposableStack();
  received = [];
  doorRefusals = [];
  verdict = ok(undefined);
});
afterEach(async () => resources.disposeAsync());

async function receiverAt(site: Site): Promise<number> {
  const manifest = manifestWith({});
  const held = { manifest, inForce: manifest, signed: '', overrides: undefined, tag: '""' };
  const unused = (): never => {
    throw new Error('votes and challenges only');
  };
  const receiver = await startFleetPort({
    endpoint: { host: ADDRESSES[site], port: 0 },
    identity: identities[site],
    clock: systemClock,
    callerWith: (pin) => callerWith(pin, held, ''),
    routes: fleetRoutes({
      self: site,
      documents: {
        held: () => held,
        takeManifest: unused,
        takeOverrides: unused,
        load: unused,
        reload: unused,
      },
      events: { manifestRefused: unused, overridesRefused: unused },
      receiveVote: async (text, sender) => {
        received.push({ at: site, text, sender });
        return verdict;
      },
      receiveChallenges: (text, sender) => {
        received.push({ at: site, text: `challenges ${text}`, sender });
        return ok(undefined);
      },
      status: unused,
      decisionsAfter: unused,
      relaySays: unused,
    }),
    refused: (reason) => doorRefusals.push(reason),
  });
  resources.defer(async () => receiver.close());
  return receiver.port;
}

function senderOf(
  self: Site,
  manifest: Manifest,
  posted: (peer: string, outcome: PostOutcome) => void,
  identity: PinnedIdentity = identities[self],
): VoteSender {
  const sender = createVoteSender({ manifest, self, identity, clock: systemClock, posted });
  resources.defer(() => sender.close());
  return sender;
}

test('a vote reaches every other vantage, with the name that the key proves', async () => {
  const ports = { gcp: await receiverAt('gcp'), hetzner: await receiverAt('hetzner') };
  const outcomes: string[] = [];
  senderOf('aws', manifestWith(ports), (peer, outcome) => outcomes.push(`${peer} ${outcome}`)).send('a.b.c');
  await eventually('both answered', () => (outcomes.length === 2 ? true : undefined));
  expect(outcomes.toSorted()).toStrictEqual(['gcp delivered', 'hetzner delivered']);
  expect(received.toSorted((a, b) => a.at.localeCompare(b.at))).toStrictEqual([
    { at: 'gcp', text: 'a.b.c', sender: 'aws' },
    { at: 'hetzner', text: 'a.b.c', sender: 'aws' },
  ]);
});

test('challenges reach every other vantage that can be reached, and the sender is told which', async () => {
  const gone = await receiverAt('hetzner');
  await resources.disposeAsync();
  resources = new AsyncDisposableStack();
  const ports = { gcp: await receiverAt('gcp'), hetzner: gone };
  const sender = senderOf('aws', manifestWith(ports), () => undefined);
  expect([...(await sender.sendChallenges('{"zone":[]}'))]).toStrictEqual([
    ['gcp', 'delivered'],
    ['hetzner', 'failed'],
  ]);
  expect(received).toStrictEqual([{ at: 'gcp', text: 'challenges {"zone":[]}', sender: 'aws' }]);
});

test('votes to one peer share a connection', async () => {
  const port = await receiverAt('gcp');
  let connections = 0;
  const counting = createServer((inner) => {
    connections += 1;
    forward(inner, ADDRESSES.gcp, port);
  });
  const countingPort = await listening(counting, ADDRESSES.gcp);
  const outcomes: PostOutcome[] = [];
  const sender = senderOf('aws', manifestWith({ gcp: countingPort }), (peer, outcome) => {
    if (peer === 'gcp') outcomes.push(outcome);
  });
  for (let turn = 1; turn <= 5; turn += 1) {
    sender.send(`vote ${turn}`);
    await eventually(`vote ${turn} was delivered`, () => (outcomes.length === turn ? true : undefined));
  }
  expect(received.map(({ text }) => text)).toStrictEqual([1, 2, 3, 4, 5].map((turn) => `vote ${turn}`));
  expect(connections).toBe(1);
});

test('a peer that hangs delays no other, and only the newest vote waits for it', async () => {
  const ports = { gcp: await receiverAt('gcp'), hetzner: await receiverAt('hetzner') };
  let connections = 0;
  const hangsOnce = await listening(
    createServer((inner) => {
      connections += 1;
      inner.on('error', () => undefined);
      if (connections > 1) forward(inner, ADDRESSES.gcp, ports.gcp);
    }),
    ADDRESSES.gcp,
  );
  const outcomes: string[] = [];
  const sender = senderOf('aws', manifestWith({ ...ports, gcp: hangsOnce }), (peer, outcome) =>
    outcomes.push(`${peer} ${outcome}`),
  );
  for (let turn = 1; turn <= 20; turn += 1) {
    sender.send(`vote ${turn}`);
    await eventually('hetzner has it', () =>
      received.find(({ at, text }) => at === 'hetzner' && text === `vote ${turn}`),
    );
  }
  await eventually('gcp has one', () => received.find(({ at }) => at === 'gcp'));
  expect(received.filter(({ at }) => at === 'gcp')).toMatchObject([{ text: 'vote 20' }]);
  expect(outcomes.filter((outcome) => outcome === 'gcp failed')).toHaveLength(1);
});

test('a refusal is told to the sender', async () => {
  verdict = fail('replayed');
  const outcomes: PostOutcome[] = [];
  const port = await receiverAt('gcp');
  senderOf('aws', manifestWith({ gcp: port }), (peer, outcome) => {
    if (peer === 'gcp') outcomes.push(outcome);
  }).send('a.b.c');
  await eventually('an outcome', () => outcomes[0]);
  expect(outcomes).toStrictEqual(['refused']);
});

test('a receiver with another key than the manifest lists gets no vote', async () => {
  const port = await receiverAt('hetzner');
  const outcomes: PostOutcome[] = [];
  const manifest = manifestWith({ gcp: port });
  const moved = {
    ...manifest,
    sites: manifest.sites.map((site) =>
      site.name === 'gcp' ? { ...site, vantage: { ...site.vantage, ipv4: ADDRESSES.hetzner } } : site,
    ),
  };
  senderOf('aws', moved, (peer, outcome) => {
    if (peer === 'gcp') outcomes.push(outcome);
  }).send('a.b.c');
  await eventually('an outcome', () => outcomes[0]);
  expect(outcomes).toStrictEqual(['failed']);
  expect(received).toStrictEqual([]);
});

describe('the door', () => {
  test('a vote from a key that the manifest does not list is not read', async () => {
    const port = await receiverAt('gcp');
    const stranger = await makePinnedIdentity(context, 'stranger');
    const outcomes: PostOutcome[] = [];
    const posted = (peer: string, outcome: PostOutcome): void => {
      if (peer === 'gcp') outcomes.push(outcome);
    };
    senderOf('aws', manifestWith({ gcp: port }), posted, stranger).send('a.b.c');
    await eventually('an outcome', () => outcomes[0]);
    expect(outcomes).toStrictEqual(['refused']);
    expect(doorRefusals).toStrictEqual(['key_not_pinned']);
    expect(received).toStrictEqual([]);
  });

  test.each([
    ['another path', 'POST /v1/votes HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n', 404, 'route_unknown'],
    ['another method', 'GET /v1/vote HTTP/1.1\r\nHost: x\r\n\r\n', 404, 'route_unknown'],
    [
      'a body over the limit',
      `POST /v1/vote HTTP/1.1\r\nHost: x\r\nContent-Length: 16385\r\n\r\n${'x'.repeat(16_385)}`,
      413,
      'body_too_large',
    ],
  ])('%s is refused by name', async (_, text, status, code) => {
    const port = await receiverAt('gcp');
    const destination = {
      host: ADDRESSES.gcp,
      port,
      serverName: 'ns-gcp.relay.example.com',
      pins: [pinOf(identities.gcp.publicKeySpki)],
    };
    const socket = await connectPinned(destination, identities.aws, 5000);
    const replied = new Promise<Buffer>((resolve, reject) =>
      socket.once('data', resolve).once('error', reject),
    );
    socket.write(text);
    expect((await replied).toString()).toContain(`HTTP/1.1 ${status} `);
    expect(doorRefusals).toStrictEqual([code]);
    expect(received).toStrictEqual([]);
    socket.destroy();
  });
});

async function listening(server: ReturnType<typeof createServer>, host: string): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  resources.defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function forward(inner: Socket, host: string, port: number): void {
  const outer = connect(port, host);
  inner.pipe(outer).pipe(inner);
  for (const socket of [inner, outer]) socket.on('error', () => undefined);
}
