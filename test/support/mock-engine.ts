/**
 * The SDK's own mock engine, and beside it what the mocks do not show: the options that a resource was registered
 * with. Outputs that a provider would compute are made up here.
 */
import { runtime } from '@pulumi/pulumi';
import { getMonitor } from '@pulumi/pulumi/runtime/index.js';
import type { SiteSpec } from '../../infra/site.ts';

export interface Registered {
  /** Such as `aws:ec2/eip:Eip`. */
  readonly type: string;
  readonly name: string;
  /** Secrets in it are still wrapped. */
  readonly inputs: Record<string, unknown>;
  readonly isProtected: boolean;
  readonly deletesBeforeReplace: boolean;
  readonly provider: string;
}

/** What the SDK wraps a secret in on its way to the engine. */
const SECRET_SIGNATURE = '1b47061264138c4ac30d75fd1eb44270';

/** Starts the mock engine; `registered` fills as the program runs. One for each test file. */
export async function startMockEngine(): Promise<Registered[]> {
  const registered: Registered[] = [];
  let count = 0;
  await runtime.setMocks(
    {
      newResource: ({ type, name, inputs }) => {
        count += 1;
        // Hetzner's ids are numbers, and the program reckons with that.
        return {
          id: type.startsWith('hcloud:') ? String(count) : `${name}-id-${count}`,
          state: { ...inputs, ...computed(name, count) },
        };
      },
      call: ({ token }) => {
        throw new Error(`invoke of ${token}: the provider would have to be up`);
      },
    },
    'archipelago',
    'test',
  );
  const monitor = getMonitor() as unknown as {
    registerResource: (request: Request, done: unknown) => unknown;
  };
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request, done) => {
    registered.push({
      type: request.getType(),
      name: request.getName(),
      inputs: request.getObject()?.toJavaScript() ?? {},
      isProtected: request.getProtect(),
      deletesBeforeReplace: request.getDeletebeforereplace(),
      provider: request.getProvider(),
    });
    return register(request, done);
  };
  return registered;
}

/** Resolves when everything that the program asked for so far is registered. The SDK has this, but no type for it. */
export function allRegistered(): Promise<void> {
  return (runtime as unknown as { waitForRPCs: () => Promise<void> }).waitForRPCs();
}

interface Request {
  readonly getType: () => string;
  readonly getName: () => string;
  readonly getObject: () => { readonly toJavaScript: () => Record<string, unknown> } | undefined;
  readonly getProtect: () => boolean;
  readonly getDeletebeforereplace: () => boolean;
  readonly getProvider: () => string;
}

/** Outputs that a provider would compute, for every type at once. */
export function computed(name: string, count: number): Record<string, unknown> {
  const ipv4 = `192.0.2.${count}`;
  const ipv6 = `2001:db8::${count}`;
  return {
    name: `${name}-name`,
    arn: `arn:${name}`,
    email: `${name}@example.iam.gserviceaccount.com`,
    publicIp: ipv4,
    allocationId: `eipalloc-${count}`,
    address: name.endsWith('-ipv6') ? ipv6 : ipv4,
    ipAddress: ipv4,
    ipv4,
    ipv6,
    ipv6Address: ipv6,
    latestVersion: 3,
    instanceGroup: `${name}-instances`,
    selfLink: `${name}-link`,
    ...(/^[a-z]+$/.test(name) ? { ipv6CidrBlock: '2001:db8:0:ab00::/56' } : {}),
  };
}

/** Whether the engine was told that this value is secret. */
export function isSecret(value: unknown): boolean {
  return JSON.stringify(value)?.includes(SECRET_SIGNATURE) ?? false;
}

/** The value inside a secret, or the value. */
export function unwrapped(value: unknown): unknown {
  return isSecret(value) ? (value as { value: unknown }).value : value;
}

/** Secret files for a site, recognisable when they turn up where they should not. */
export function secretsOf({ provider }: Pick<SiteSpec, 'provider'>): Record<string, Record<string, string>> {
  const password = 'a-password-of-redis-0123456789';
  const relay = ['tls-certificate', 'tls-key', 'peer-certificate', 'peer-key', 'secrets', 'operator-tokens'];
  return {
    relay: { ...content(relay), 'redis-password': password },
    redis: { 'redis-password': password, ...(provider === 'hetzner' ? content(['disk-key']) : {}) },
    nameserver: content(['vote-key', 'tls-certificate', 'tls-key']),
  };
}

function content(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, `THE-CONTENT-OF-${name}`]));
}
