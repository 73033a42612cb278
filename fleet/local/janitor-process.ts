/**
 * The janitor: a process in a session of its own that outlives its parent by a moment.
 *
 * It is told through its standard input what was started and what was created, one JSON object a line. When the
 * pipe ends, its parent has finished, crashed or was killed; the janitor then kills what still runs, removes the
 * directories and network namespaces and ends. It reacts to no signal that a terminal sends, and it kills nothing that it was not told of.
 */
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { removeNamespace } from './namespaces.ts';
import { startOf } from './process-identity.ts';

interface Note {
  readonly pid?: number;
  /** Start time of the process, against the reuse of its pid. */
  readonly start?: string;
  readonly forget?: number;
  readonly directory?: string;
  readonly namespace?: string;
}

const processes = new Map<number, string>();
const directories: string[] = [];
const namespaces: string[] = [];

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

for await (const line of createInterface({ input: process.stdin })) {
  const note = JSON.parse(line) as Note;
  if (note.pid !== undefined) processes.set(note.pid, note.start ?? '');
  if (note.forget !== undefined) processes.delete(note.forget);
  if (note.directory !== undefined) directories.push(note.directory);
  if (note.namespace !== undefined) namespaces.push(note.namespace);
}

for (const [pid, start] of processes) {
  if (startOf(pid) !== start) continue;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended between the two lines.
  }
}
namespaces.forEach(removeNamespace);
for (const directory of directories) {
  // A dying process may still create a file: then one more round is needed.
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}
