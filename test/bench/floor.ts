/**
 * The floor under a benchmark: what the same disk and the same Redis do with nothing in front of them.
 *
 * Redis is driven over a bare socket with commands made in advance, so that it and not the client is measured; what
 * arrives together it fsyncs together, as it does for a relay.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../system/clock.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { type Percentiles, percentilesOf } from './percentiles.ts';

/** How long it takes to append 1 KiB to a file and to have it on disk, milliseconds. */
export function measureFsync(times: number): Percentiles {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-fsync-'));
  const file = openSync(join(directory, 'file'), 'a');
  const block = randomBytes(1024);
  const tookMs = Array.from({ length: times }, () => {
    writeSync(file, block);
    const startedMs = systemClock.monotonicMs();
    fdatasyncSync(file);
    return systemClock.monotonicMs() - startedMs;
  });
  closeSync(file);
  rmSync(directory, { recursive: true, force: true });
  return percentilesOf(tookMs);
}

const FIELDS = 1024;

/**
 * Inserts a second: HSET of `valueBytes` with `inFlight` of them pipelined at each of `servers`, all driven at the
 * same time. One insert counts when every server has it. What it wrote is deleted.
 */
export async function measureInserts(
  servers: readonly RedisServer[],
  valueBytes: number,
  inFlight: number,
  forMs: number,
): Promise<number> {
  const done = await Promise.all(servers.map((server) => insertInto(server, valueBytes, inFlight, forMs)));
  return (Math.min(...done) * 1000) / forMs;
}

async function insertInto(
  server: RedisServer,
  valueBytes: number,
  inFlight: number,
  forMs: number,
): Promise<number> {
  const socket = connect({ host: server.host, port: server.port, noDelay: true });
  await once(socket, 'connect');
  const value = randomBytes(valueBytes);
  const commands = Array.from({ length: FIELDS }, (_, field) => command(field, value));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const endMs = systemClock.monotonicMs() + forMs;
  let done = 0;
  let sent = 0;
  const send = (count: number): void => {
    const some: Buffer[] = [];
    for (let n = 0; n < count; n += 1) {
      const next = commands[sent % FIELDS];
      if (next !== undefined) some.push(next);
      sent += 1;
    }
    socket.write(Buffer.concat(some));
  };
  socket.on('error', reject);
  socket.on('data', (chunk: Buffer) => {
    if (chunk.includes('-')) reject(new Error(`redis refuses: ${chunk.toString('latin1')}`));
    let replies = 0;
    for (const byte of chunk) if (byte === 0x0a) replies += 1;
    done += replies;
    if (systemClock.monotonicMs() >= endMs) resolve(done);
    else send(replies);
  });
  send(inFlight);
  const total = await promise;
  socket.destroy();
  const cleaner = connect({ host: server.host, port: server.port });
  cleaner.write('DEL floor\r\n');
  await once(cleaner, 'data');
  cleaner.destroy();
  return total;
}

function command(field: number, value: Buffer): Buffer {
  const name = `field${field}`;
  const head = `*4\r\n$4\r\nHSET\r\n$5\r\nfloor\r\n$${name.length}\r\n${name}\r\n$${value.length}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), value, Buffer.from('\r\n', 'latin1')]);
}
