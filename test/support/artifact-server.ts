/**
 * A place that machines fetch their release from, as a program of its own, so that it can run inside the network of a
 * machine. Serves the files of a directory, prints each path that it is asked for, and is 169.254.169.254 besides.
 */
import { createReadStream, existsSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { basename, join } from 'node:path';

export const ARTIFACT_PORT = 8080;

const [, , directory = ''] = process.argv;
const serve: RequestListener = ({ url = '' }, response) => {
  const file = join(directory, basename(url));
  process.stdout.write(`asked ${url}\n`);
  if (existsSync(file) && url.length > 1) createReadStream(file).pipe(response);
  else response.writeHead(404).end();
};

if (import.meta.main) {
  createServer(serve).listen(ARTIFACT_PORT, '127.0.0.1', () => process.stdout.write('listening\n'));
  createServer((_, response) => void response.end('credentials')).listen(80, '169.254.169.254');
}
