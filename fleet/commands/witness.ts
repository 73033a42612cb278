/**
 * `fleet witness`: a vantage without a relay, on a machine of its own at one more provider. It looks and votes, so that two
 * sites never have to judge each other alone. Changes the draft; it takes effect with `fleet sign` and `fleet push`.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { join } from 'node:path';
import { ok } from '../../system/result.ts';
import {
  makeWitness,
  type NewWitness,
  withoutWitness,
  witnessFiles,
  witnessFolder,
} from '../operator/witness-keys.ts';
import { DIRECTORY_FLAGS, draftChange, inWorkspace, operatorsKey } from '../operator/workspace.ts';
import {
  type CommandIo,
  DONE,
  misused,
  type OperatorCommand,
  type Outcome,
  operatorCommand,
  type Words,
} from './command.ts';

const VOTE_PORT = 443;
const NAME = /^[a-z][a-z0-9-]{0,15}$/;
const PROVIDER = /^[a-z][a-z0-9-]{0,31}$/;

export const witnessCommand: OperatorCommand = operatorCommand({
  help: `  witness add NAME (--ipv4 ADDRESS | --ipv6 ADDRESS | both) [--provider PROVIDER] [--vote-port PORT] [--dir DIR] [--json]
       | witness remove NAME [--dir DIR] [--json]
      A vantage without a relay at one more provider (NAME unless said): add makes its keys and its settings, remove
      takes it and its keys out; then sign and push as ever.`,
  flags: {
    ...DIRECTORY_FLAGS,
    ipv4: 'value',
    ipv6: 'value',
    provider: 'value',
    'vote-port': 'value',
    json: 'alone',
  },
  words: { min: 2, max: 2, what: 'add or remove, and the name of a witness' },
  run: async (given, io) => {
    const [verb, name = ''] = given.positional;
    if (verb === 'add') return await add(name, given, io);
    if (verb === 'remove') return await remove(name, given, io);
    return misused(`witness does not know ${JSON.stringify(verb)}. It is used so:`, witnessCommand.help);
  },
});

async function add(name: string, given: Words, io: CommandIo): Promise<Outcome<number>> {
  const witness = wanted(name, given);
  if (!witness.ok) return witness;
  return await inWorkspace(given, async ({ directory, draft }) => {
    const key = operatorsKey(directory.path);
    if (!key.ok) return key;
    const made = await makeWitness(draft, witness.value, {
      wallMs: io.clock.wallMs(),
      random: io.random,
    });
    if (!made.ok) return misused(...made.fault);
    const files = witnessFiles(witness.value, made.value.files, key.value);
    directory.change(new Map([...files, draftChange(made.value.draft)]));
    const folder = join(directory.path, witnessFolder(name));
    if (given.flags.has('json')) {
      io.print(JSON.stringify({ witness: name, provider: witness.value.provider, folder }));
      return ok(DONE);
    }
    io.print(`Witness ${name} has its keys and its settings, in ${folder}.`);
    io.print('Bring them and the release to its machine and start it: docs/deploy.md, "A witness".');
    io.print('Then: fleet diff, fleet sign, fleet push. Once the machine has them, the folder may go.');
    return ok(DONE);
  });
}

async function remove(name: string, given: Words, io: CommandIo): Promise<Outcome<number>> {
  return await inWorkspace(given, async ({ directory, draft }) => {
    const names = draft.manifest.witnesses.map((witness) => witness.name);
    if (!names.includes(name)) {
      return misused(`There is no witness ${JSON.stringify(name)}; there are ${names.join(', ') || 'none'}.`);
    }
    directory.change(new Map([draftChange(withoutWitness(draft, name)), [witnessFolder(name), null]]));
    if (given.flags.has('json')) io.print(JSON.stringify({ witness: name, removed: true }));
    else
      io.print(
        `Witness ${name} and its keys are out of the draft. Next: fleet diff, fleet sign, fleet push.`,
      );
    return await Promise.resolve(ok(DONE));
  });
}

function wanted(name: string, given: Words): Outcome<NewWitness> {
  const ipv4 = given.flags.get('ipv4') ?? null;
  const ipv6 = given.flags.get('ipv6') ?? null;
  const provider = given.flags.get('provider') ?? name;
  const port = given.flags.get('vote-port') ?? String(VOTE_PORT);
  if (!NAME.test(name)) {
    return misused(
      `A witness's name has 1 to 16 of a-z 0-9 -, beginning with a letter; got ${JSON.stringify(name)}.`,
    );
  }
  if (!PROVIDER.test(provider)) {
    return misused(`--provider: expected 1 to 32 of a-z 0-9 -, got ${JSON.stringify(provider)}.`);
  }
  if (ipv4 === null && ipv6 === null) {
    return misused('A witness needs an address that stays: --ipv4 ADDRESS, --ipv6 ADDRESS, or both.');
  }
  if (ipv4 !== null && !isIPv4(ipv4)) {
    return misused(`--ipv4: expected an IPv4 address, got ${JSON.stringify(ipv4)}.`);
  }
  if (ipv6 !== null && !isIPv6(ipv6)) {
    return misused(`--ipv6: expected an IPv6 address, got ${JSON.stringify(ipv6)}.`);
  }
  const votePort = /^[1-9]\d{0,4}$/.test(port) ? Number(port) : Number.NaN;
  return votePort <= 65_535
    ? ok({ name, provider, ipv4, ipv6, votePort })
    : misused(`--vote-port: expected a port, 1 to 65535, got ${JSON.stringify(port)}.`);
}
