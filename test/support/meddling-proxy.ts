/**
 * What stands between a client and a site in some networks: a proxy that ends TLS, passes HTTP requests on, and does not
 * like WebSockets. It has the site's certificate, as the proxy of a company has one that its machines believe.
 */
import { type Server as HttpServer, type IncomingMessage, STATUS_CODES } from 'node:http';
import { createServer, request as requestHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';

/** What becomes of an upgrade: a status, the end of the connection, silence, or a WebSocket. */
export type UpgradePolicy = number | 'drop' | 'hang' | 'pass';

export interface MeddlingProxy extends AsyncDisposable {
  policy: UpgradePolicy;
  /** Upgrades that were asked for. */
  readonly upgrades: number;
}

export interface MeddlingProxyOptions {
  readonly address: string;
  readonly port: number;
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Where the site is, at the same port, and by which name and authority it is known. */
  readonly site: { readonly address: string; readonly name: string; readonly ca: string };
  readonly policy: UpgradePolicy;
}

/** Listens once it has resolved. */
export async function startMeddlingProxy(options: MeddlingProxyOptions): Promise<MeddlingProxy> {
  const { site, port } = options;
  const to = { host: site.address, port, servername: site.name, ca: site.ca };
  const open = new Set<Duplex>();
  const proxy = { policy: options.policy, upgrades: 0 };
  const server = createServer({ cert: options.certificatePem, key: options.keyPem }, (request, response) => {
    const { method, url: path, headers } = request;
    const onward = requestHttps({ ...to, method, path, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  server.on('upgrade', (request, socket, head) => {
    proxy.upgrades += 1;
    socket.on('error', () => undefined);
    if (proxy.policy === 'drop') socket.destroy();
    else if (proxy.policy === 'pass') pass(request, socket, head);
    else if (proxy.policy !== 'hang') {
      const status = `${proxy.policy} ${STATUS_CODES[proxy.policy] ?? ''}`;
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    }
  });
  const pass = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const onward = connect(to, () => {
      const lines = [`GET ${request.url ?? ''} HTTP/1.1`];
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
      }
      onward.write(`${lines.join('\r\n')}\r\n\r\n`);
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    open.add(onward);
    onward.on('error', () => undefined).on('close', () => socket.destroy());
    socket.on('close', () => {
      open.delete(onward);
      onward.destroy();
    });
  };
  server.on('secureConnection', (socket) => {
    open.add(socket);
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
  });
  await listen(server, port, options.address);
  return Object.assign(proxy, {
    [Symbol.asyncDispose]: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      for (const each of open) each.destroy();
      await promise;
    },
  });
}

async function listen(server: HttpServer, port: number, address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, address, resolve);
  await promise;
}
