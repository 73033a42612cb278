/**
 * Finds a port that is free at several addresses at once, by binding it: nothing else tells the truth.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describeError } from '../../system/log.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Ports, PortWish } from './layout.ts';

/** Grants every wish, or says in one sentence which port is taken where. */
export async function findPorts(wishes: readonly PortWish[]): Promise<Result<Ports, string>> {
  const ports: Record<keyof Ports, number> = { relay: 0, dns: 0, votes: 0, private: 0, redis: 0 };
  for (const wish of wishes) {
    let trouble = 'no candidate';
    for (const port of wish.candidates) {
      trouble = await whyTaken(port, wish);
      if (trouble === '') {
        ports[wish.kind] = port;
        break;
      }
    }
    if (trouble !== '') {
      const [only] = wish.candidates.length === 1 ? wish.candidates : [];
      return fail(
        only === undefined
          ? `No port for ${wish.kind} is free between ${wish.candidates[0]} and ${wish.candidates.at(-1)}: ${trouble}.`
          : `Port ${only} cannot be used: ${trouble}. Choose another one with --port, or leave --port out.`,
      );
    }
  }
  return ok(ports);
}

async function whyTaken(port: number, wish: PortWish): Promise<string> {
  for (const address of wish.addresses) {
    try {
      await bindOnce(port, address);
      if (wish.datagrams) await bindDatagramOnce(port, address);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EADDRINUSE') return `${address}:${port} is taken`;
      if (code === 'EACCES') return `only root may listen at ${address}:${port}`;
      if (code === 'EADDRNOTAVAIL')
        return `this system has no address ${address} (Linux has all of 127.0.0.0/8)`;
      return describeError(error);
    }
  }
  return '';
}

async function bindOnce(port: number, host: string): Promise<void> {
  const server = createServer();
  server.listen({ port, host, exclusive: true });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

async function bindDatagramOnce(port: number, address: string): Promise<void> {
  const socket = createSocket('udp4');
  try {
    socket.bind({ port, address, exclusive: true });
    await once(socket, 'listening');
  } finally {
    socket.close();
  }
}
