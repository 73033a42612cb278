/**
 * Questions to a person at a terminal: with what is typed shown, or hidden for a passphrase. On standard error, so that
 * standard output is only what a command says.
 */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Terminal } from './commands/command.ts';

/** The terminal of this process; undefined when standard input is none. Ctrl-C rejects with an AbortError. */
export function terminalOf(input: NodeJS.ReadStream, output: NodeJS.WriteStream): Terminal | undefined {
  if (!input.isTTY) return undefined;
  const question = async (text: string, isSecret: boolean): Promise<string> => {
    output.write(text);
    // The line editor echoes what it is given, so it is given nowhere to echo to.
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    const lines = createInterface({
      input,
      output: isSecret ? nowhere : output,
      terminal: true,
      historySize: 0,
    });
    const interrupted = new AbortController();
    lines.on('SIGINT', () => interrupted.abort());
    try {
      return await lines.question('', { signal: interrupted.signal });
    } finally {
      lines.close();
      if (isSecret) output.write('\n');
    }
  };
  return {
    ask: async (text) => await question(text, false),
    askSecret: async (text) => await question(text, true),
  };
}
