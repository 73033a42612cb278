/**
 * Questions to a person at a terminal: with what is typed shown, or hidden for a passphrase. On standard error, so that
 * standard output is only what a command says.
 */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Interrupted, type Terminal } from './commands/command.ts';

/** The terminal of this process; undefined when standard input is none. */
export function terminalOf(input: NodeJS.ReadStream, output: NodeJS.WriteStream): Terminal | undefined {
  if (!input.isTTY) return undefined;
  const question = async (text: string, isSecret: boolean): Promise<string> => {
    // The line editor echoes what it is given, so it is given nowhere to echo to.
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    const lines = createInterface({
      input,
      output: isSecret ? nowhere : output,
      terminal: true,
      historySize: 0,
    });
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const end = (): void => reject(new Interrupted('interrupted'));
    // Ctrl-C, and Ctrl-D, which closes.
    lines.on('SIGINT', end).on('close', end);
    // Only now: from here on the terminal itself echoes nothing, so nobody who types at once is seen.
    if (isSecret) output.write(text);
    try {
      const answered = lines.question(isSecret ? '' : text);
      answered.catch(() => undefined);
      return await Promise.race([answered, ended]);
    } finally {
      ended.catch(() => undefined);
      lines.close();
      if (isSecret) output.write('\n');
    }
  };
  return {
    ask: async (text) => await question(text, false),
    askSecret: async (text) => await question(text, true),
  };
}
