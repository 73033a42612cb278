/**
 * A client that sends its ClientHello and then nothing: the cheapest way to hold a connection.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';

/** The ClientHello that node:tls would send: its first bytes. */
export async function captureClientHello(options: ConnectionOptions): Promise<Buffer> {
  const written = Promise.withResolvers<Buffer>();
  const wire = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      written.resolve(chunk);
      done();
    },
  });
  const socket = connectTls({ ...options, socket: wire }).on('error', () => undefined);
  const bytes = await written.promise;
  const closed = once(socket, 'close');
  socket.destroy();
  await closed;
  return bytes;
}

/** Connects, sends a ClientHello, and stays. What the server answers is read and forgotten. */
export async function stallHandshake(port: number, serverName: string): Promise<Socket> {
  const hello = await captureClientHello({ servername: serverName });
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined).resume();
  await once(socket, 'connect');
  socket.write(hello);
  return socket;
}
