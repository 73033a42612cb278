/**
 * A TLS server that echoes, or the idle clients of one, as a process of its own: each client sends one byte, waits for
 * it, and holds the connection until its parent goes.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { answerMemory } from './idle-memory.ts';

export type EchoConfig =
  | {
      readonly role: 'server';
      readonly certificatePem: string;
      readonly keyPem: string;
      readonly groups?: string | undefined;
    }
  | {
      readonly role: 'client';
      readonly port: number;
      readonly connections: number;
      readonly serverName: string;
      readonly authorityPem: string;
    };

const HOST = '127.0.0.1';
const AT_ONCE = 64;

answerMemory();
const config = JSON.parse(process.argv[2] ?? '') as EchoConfig;

if (config.role === 'server') {
  const { certificatePem: cert, keyPem: key, groups } = config;
  const curve = groups === undefined ? {} : { ecdhCurve: groups };
  const server = createServer({ cert, key, ...curve }, (socket) => {
    socket.on('error', () => socket.destroy()).on('data', (chunk) => socket.write(chunk));
  });
  server.listen(0, HOST, () => process.send?.((server.address() as AddressInfo).port));
} else {
  const { port, connections, serverName, authorityPem } = config;
  const held: TLSSocket[] = [];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (held.length < connections) {
        const socket = connect({ host: HOST, port, servername: serverName, ca: authorityPem });
        held.push(socket);
        socket.write('x');
        await once(socket, 'data');
      }
    }),
  );
  process.send?.('connected');
}
