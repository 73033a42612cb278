/**
 * What hostile clients do to a relay that serves: it goes on, remembers nothing of them, and a client that behaves
 * does not notice. Real processes; the client's own pace without an attack, in the same run, is what it is held against.
 */
import { type Agent, Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { BEAT, encodeAck, encodeHello, MAILBOXES_MAX } from '../../client/frames.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport } from '../../client/node-transport.ts';
import { createSubscription } from '../../client/push-url.ts';
import { peerServerName, siteOrigin } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import {
  ATTACKER_ADDRESS,
  type Attacker,
  createAttacker,
  LAST_BINARY,
  LAST_PING,
  LAST_TEXT,
  webSocketFrame,
} from '../support/attacker.ts';
import { ciphertext } from '../support/ciphertext.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const MINUTE_MS = 60_000;
const SENDS = 60;
/** What a busy machine may add to the median of the client, milliseconds. */
const SLACK_MS = 15;
/** What the relay may keep of an attack once it is over: buffers that V8 has not given back. */
const KEPT_BYTES_MAX: number = 48 * 1024 * 1024;

let sites: RelaySites;
let agent: Agent;
let path: string;
let baselineMs: number;
let host: string;
let name: string;

beforeAll(async () => {
  sites = await createRelaySites();
  for (const layout of sites.layouts) sites.start(layout.name, { RELAY_CONNECTIONS_MAX: '2000' });
  await Promise.all(sites.layouts.map((layout) => sites.untilStatus(layout.name, 200)));
  const origin = siteOrigin(sites.identities.manifest, 'aws');
  host = sites.layouts[0]?.relayAddress ?? '';
  name = new URL(origin).hostname;
  const transport = createNodeTransport({
    clock: systemClock,
    ca: sites.identities.authorityPem,
    lookup: async () => [host],
    connectTimeoutMs: 2000,
    keepAlive: false,
  });
  const mailbox = await createMailbox(systemRandom);
  const options = { transport, clock: systemClock, siteOrigin: origin, timeoutMs: 5000 };
  path = new URL((await createSubscription(mailbox, options)).endpoint).pathname;
  transport.close();
  agent = new HttpsAgent({ keepAlive: true, maxSockets: 1, ca: sites.identities.authorityPem });
  await medianSendMs();
  baselineMs = await medianSendMs();
}, MINUTE_MS);

afterAll(async () => {
  agent.destroy();
  await sites[Symbol.asyncDispose]();
});

let sent = 0;
/** One message of 1 KiB over the client's own connection, accepted by two providers; how long that took. */
async function sendMs(): Promise<number> {
  sent += 1;
  const beganMs = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { TTL: '5', 'Content-Encoding': 'aes128gcm', Host: `${name}:${sites.ports.relay}` };
  const options = { agent, host, port: sites.ports.relay, servername: name, method: 'POST', path, headers };
  const asked = httpsRequest(options, (response) => {
    response.resume().on('end', () => resolve(response.statusCode ?? 0));
  });
  asked.on('error', reject).end(ciphertext(`${sent} ${'x'.repeat(1000)}`));
  const status = await promise;
  // Its mailbox is full or too fast for a while: an answer like any other.
  expect([201, 429]).toContain(status);
  return performance.now() - beganMs;
}

async function medianSendMs(): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < SENDS; count += 1) times.push(await sendMs());
  return times.toSorted((a, b) => a - b)[SENDS / 2] ?? 0;
}

async function memoryBytes(): Promise<number> {
  const line = /^relay_process_resident_memory_bytes (\S+)$/m.exec(await sites.metrics('aws'));
  return Number(line?.[1]);
}

async function counter(metric: string): Promise<number> {
  const lines = (await sites.metrics('aws')).split('\n');
  return Number(
    lines
      .find((line) => line.startsWith(`${metric} `))
      ?.split(' ')
      .at(-1),
  );
}

/**
 * Runs an attack, and while it lasts the client that behaves: it is not slowed down to less than half, and afterwards
 * the relay has let go of what the attack cost.
 */
async function under(
  attack: (attacker: Attacker) => Promise<() => Promise<void>>,
  servername = name,
): Promise<void> {
  const attacker = createAttacker(host, sites.ports.relay, servername);
  const beforeBytes = await memoryBytes();
  const stop = await attack(attacker);
  let attackedMs: number;
  try {
    attackedMs = await medianSendMs();
  } finally {
    // An attack that goes on would be blamed on the tests that follow.
    await stop();
    attacker.close();
  }
  expect(attackedMs).toBeLessThan(2 * baselineMs + SLACK_MS);
  await sites.untilStatus('aws', 200);
  await expect
    .poll(async () => (await memoryBytes()) - beforeBytes, { timeout: 20_000, interval: 250 })
    .toBeLessThan(KEPT_BYTES_MAX);
  expect(sites.output('aws')).not.toContain('"level":"error"');
}

/** Does something over and over until it is told to stop. */
function repeatedly(everyMs: number, step: () => Promise<void>): () => Promise<void> {
  const stopping = new AbortController();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      await step();
      await sleep(everyMs);
    }
  })();
  return async () => {
    stopping.abort();
    await running;
  };
}

async function helloOf(mailboxes: readonly Mailbox[]): Promise<string> {
  const audience = siteOrigin(sites.identities.manifest, 'aws');
  const nowSeconds = Math.floor(Date.now() / 1000);
  const tokens = await Promise.all(mailboxes.map(async (mailbox) => mailbox.token(audience, nowSeconds)));
  return encodeHello(tokens, 64);
}

async function ackOfNothing(mailbox: Mailbox): Promise<Uint8Array> {
  const ids = systemRandom.bytes(16);
  return encodeAck(0, await mailbox.signAck(ids), ids);
}

/** The same over and over, `bytes` of it or a little more. */
function heapOf(one: Buffer, bytes: number): Buffer {
  return Buffer.concat(Array.from({ length: Math.ceil(bytes / one.length) }, () => one));
}

const head = (length: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: ${name}\r\nTTL: 5\r\nContent-Encoding: aes128gcm\r\n${length}\r\n\r\n`;

describe('a client that behaves is served as well as ever', { timeout: MINUTE_MS }, () => {
  test('while hundreds of connections never end their headers', async () => {
    await under(async (attacker) => {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => attacker.secure()));
      for (const socket of sockets) socket.write(`GET /v1/info HTTP/1.1\r\nHost: ${name}\r\n`);
      return repeatedly(100, async () => {
        for (const socket of sockets) if (socket.writable) socket.write('X: y\r\n');
      });
    });
  });

  test('while bodies come a byte at a time', async () => {
    await under(async (attacker) => {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => attacker.secure()));
      for (const socket of sockets) socket.write(head('Content-Length: 60000'));
      return repeatedly(100, async () => {
        for (const socket of sockets) if (socket.writable) socket.write('x');
      });
    });
  });

  test('while bodies of 100 MB come in chunks', async () => {
    const chunk = Buffer.alloc(65_536, 0x91);
    await under(async (attacker) =>
      repeatedly(100, async () => {
        const { answer, isClosed } = await attacker.say(
          [
            head('Transfer-Encoding: chunked'),
            ...Array.from({ length: 16 }, () => ['10000\r\n', chunk, '\r\n']).flat(),
          ],
          5000,
        );
        // What was cut off may never be read; a relay that took it would answer 201.
        expect(answer === '' || answer.startsWith('HTTP/1.1 413')).toBe(true);
        expect(isClosed).toBe(true);
      }),
    );
    expect(await counter('relay_refused_total{code="body_too_large"}')).toBeGreaterThan(0);
  });

  test('while connections say nothing at all', async () => {
    await under(async (attacker) => {
      await Promise.all(Array.from({ length: 400 }, () => attacker.silent()));
      return async () => {
        await expect
          .poll(() => counter('relay_turned_away_total{reason="hello_timeout"}'), { timeout: 20_000 })
          .toBeGreaterThanOrEqual(400);
      };
    });
  });

  test('while headers are larger than anybody needs', async () => {
    await under(async (attacker) =>
      repeatedly(20, async () => {
        const { answer } = await attacker.say(
          `GET / HTTP/1.1\r\nHost: ${name}\r\nX: ${'y'.repeat(65_536)}\r\n\r\n`,
          1000,
        );
        expect(answer.startsWith('HTTP/1.1 201')).toBe(false);
      }),
    );
  });

  test('while WebSockets flood it with pings, fragments and frames that are none', async () => {
    await under(async () => {
      const url = `wss://${host}:${sites.ports.relay}/v1/ws`;
      const options = {
        rejectUnauthorized: false,
        servername: name,
        headers: { Host: name },
        localAddress: ATTACKER_ADDRESS,
      };
      const open = (): WebSocket => new WebSocket(url, ['relay.v1'], options).on('error', () => undefined);
      const sockets = Array.from({ length: 40 }, open);
      const stop = repeatedly(250, async () => {
        for (const [place, socket] of sockets.entries()) {
          if (socket.readyState === WebSocket.CLOSED) sockets[place] = open();
          if (socket.readyState !== WebSocket.OPEN) continue;
          switch (place % 4) {
            case 0:
              for (let count = 0; count < 20; count += 1) socket.ping(Buffer.alloc(125));
              break;
            case 1:
              for (let count = 0; count < 20; count += 1) socket.send('x', { fin: false });
              break;
            case 2:
              socket.send(Buffer.alloc(100_000));
              break;
            default:
              socket.send('{"t":"hello","tokens":["x"],"window":1}');
          }
        }
      });
      return async () => {
        await stop();
        for (const socket of sockets) socket.terminate();
      };
    });
  });

  test.each<[string, (mailbox: Mailbox) => Promise<Buffer>]>([
    ['acks of nothing, all the same', async (own) => webSocketFrame(LAST_BINARY, await ackOfNothing(own))],
    ['beats', async () => webSocketFrame(LAST_TEXT, Buffer.from(BEAT))],
    ['pings', async () => webSocketFrame(LAST_PING, Buffer.alloc(0))],
  ])('while recipients send as much as they can of %s', async (_, makeFrame) => {
    const mailbox = await createMailbox(systemRandom);
    const flood = heapOf(await makeFrame(mailbox), 65_536);
    await under(async (attacker) => {
      const hello = await helloOf([mailbox]);
      const sockets = await Promise.all(Array.from({ length: 8 }, async () => attacker.recipient(hello)));
      return repeatedly(20, async () => {
        for (const socket of sockets) if (socket.writable && !socket.writableNeedDrain) socket.write(flood);
      });
    });
  });

  test('while many say hello with as many tokens as they may', async () => {
    const hello = await helloOf(
      await Promise.all(Array.from({ length: MAILBOXES_MAX }, async () => createMailbox(systemRandom))),
    );
    await under(async (attacker) => {
      const stops = Array.from({ length: 8 }, () =>
        repeatedly(0, async () => {
          (await attacker.recipient(hello)).destroy();
        }),
      );
      return async () => void (await Promise.all(stops.map(async (stop) => stop())));
    });
  });

  test.each([
    ['what nobody has to show anything for', 8192, () => `GET /v1/info HTTP/1.1\r\nHost: ${name}\r\n\r\n`],
    ['pages that there are not', 16_384, () => `GET /nothing HTTP/1.1\r\nHost: ${name}\r\n\r\n`],
    [
      'push URLs that are none',
      524_288,
      () =>
        `POST /p/x HTTP/1.1\r\nHost: ${name}\r\nTTL: 5\r\nContent-Encoding: aes128gcm\r\nContent-Length: 5\r\n\r\nxxxxx`,
    ],
  ])('while a few connections ask in heaps for %s', async (_, bytes, makeRequest) => {
    const heap = heapOf(Buffer.from(makeRequest()), bytes);
    await under(async (attacker) => {
      const sockets = await Promise.all(
        Array.from({ length: 4 }, async () => (await attacker.secure()).resume()),
      );
      return repeatedly(50, async () => {
        for (const [place, socket] of sockets.entries()) {
          if (socket.destroyed) sockets[place] = (await attacker.secure()).resume();
          if (socket.writable && !socket.writableNeedDrain) socket.write(heap);
        }
      });
    });
  });

  test('while strangers knock at the door of its peers', async () => {
    const peers = peerServerName(sites.identities.manifest, 'aws');
    await under(
      async (attacker) =>
        repeatedly(50, async () => {
          const socket = await attacker.secure();
          socket.write(Buffer.from('0000000501', 'hex'));
          await sleep(50);
          expect(socket.destroyed || socket.readableEnded || !socket.authorized).toBe(true);
          socket.destroy();
        }),
      peers,
    );
    expect(await counter('relay_turned_away_total{reason="peer_key_unknown"}')).toBeGreaterThan(0);
  });
});

const body = 'x'.repeat(5);

function lines(...more: readonly string[]): string {
  return ['POST /p/x HTTP/1.1', 'Host: aws', 'TTL: 1', ...more].join('\r\n');
}

describe('a request that two readers could read differently is not read at all', {
  timeout: MINUTE_MS,
}, () => {
  test.each<[string, string]>([
    ['a length and chunks', `${lines('Content-Length: 5', 'Transfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n`],
    [
      'two codings, the last not chunked',
      `${lines('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')}\r\n\r\n0\r\n\r\n`,
    ],
    ['a coding that is none', `${lines('Transfer-Encoding: xchunked')}\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', `${lines('Transfer-Encoding : chunked')}\r\n\r\n0\r\n\r\n`],
    ['two lengths', `${lines('Content-Length: 5', 'Content-Length: 6')}\r\n\r\n${body}`],
    ['a length with a sign', `${lines('Content-Length: +5')}\r\n\r\n${body}`],
    ['lines that end in LF', lines('Content-Length: 5').replaceAll('\r\n', '\n') + `\n\n${body}`],
    ['a bare CR in a header', `${lines('X: a\rb', 'Content-Length: 5')}\r\n\r\n${body}`],
    ['a NUL in a header', `${lines('X: a\0b', 'Content-Length: 5')}\r\n\r\n${body}`],
    ['no host', `POST /p/x HTTP/1.1\r\nTTL: 1\r\nContent-Length: 5\r\n\r\n${body}`],
    ['two hosts', `${lines('Host: other', 'Content-Length: 5')}\r\n\r\n${body}`],
    [
      'another host in its target',
      `POST https://other/p/x HTTP/1.1\r\nHost: aws\r\nContent-Length: 5\r\n\r\n${body}`,
    ],
    ['chunk lines that end in LF', `${lines('Transfer-Encoding: chunked')}\r\n\r\n5\n${body}\n0\n\n`],
    [
      'a chunk length that is none',
      `${lines('Transfer-Encoding: chunked')}\r\n\r\n5g\r\n${body}\r\n0\r\n\r\n`,
    ],
    ['headers without end', `${lines(...Array.from({ length: 3000 }, (_, n) => `X${n}: y`))}\r\n\r\n`],
  ])('%s', async (_, bytes) => {
    const attacker = createAttacker(host, sites.ports.relay, name);
    const next = 'GET /v1/info HTTP/1.1\r\nHost: smuggled\r\n\r\n';
    const { answer, isClosed } = await attacker.say(bytes + next, 5000);
    attacker.close();
    // Of headers without end the rest may be on its way when the answer is: then the answer is lost with it.
    if (answer !== '' || bytes.length < 16_384) expect(answer).toMatch(/^HTTP\/1\.1 4(00|31) /);
    expect(isClosed).toBe(true);
    expect(answer).not.toContain('relay.v1');
    expect(answer.match(/HTTP\/1\.1/g) ?? ['lost']).toHaveLength(1);
  });

  test('headers of the protocol that are given twice are refused by name', async () => {
    const attacker = createAttacker(host, sites.ports.relay, name);
    for (const line of ['TTL: 6', 'Content-Encoding: identity']) {
      const { answer } = await attacker.say(`${head(`Content-Length: 5\r\n${line}`)}${body}`, 300);
      expect(answer).toContain('header_repeated');
    }
    attacker.close();
  });
});
