/**
 * What every machine of a site at Google is made from: image, boot script, secret files, identity, metadata service.
 */

import {
  Instance,
  type InstanceArgs,
  RegionInstanceTemplate,
  type Subnetwork,
} from '@pulumi/gcp/compute/index.js';
import { Secret, SecretIamMember, SecretVersion } from '@pulumi/gcp/secretmanager/index.js';
import { Account } from '@pulumi/gcp/serviceaccount/index.js';
import { all, type CustomResourceOptions, type Output, type Resource, secret } from '@pulumi/pulumi';
import { renderBoot } from '../boot.ts';
import { bundleOf } from '../secret-files.ts';
import type { Role, SiteOptions, SiteSpec } from '../site.ts';
import type { StoredRelease } from './gcp-release.ts';

const IMAGE = 'debian-cloud/debian-13';
const SIZES: Readonly<Record<Role, string>> = {
  relay: 'e2-small',
  redis: 'e2-small',
  nameserver: 'e2-small',
};

/** What a site is made from. */
export interface SiteContext {
  readonly spec: SiteSpec;
  readonly options: SiteOptions;
  readonly labels: Record<string, string>;
  readonly opts: CustomResourceOptions;
}

/** What the sections of one site share. */
export interface Context extends SiteContext {
  readonly release: StoredRelease | undefined;
}

/** No key of the project and no serial console opens a machine; a guest cannot run without its measured boot. */
const HARDENED = {
  'block-project-ssh-keys': 'true',
  'serial-port-enable': 'false',
  'disable-legacy-endpoints': 'true',
};
const SHIELDED = { enableSecureBoot: true, enableVtpm: true, enableIntegrityMonitoring: true };
/** What the role may do is in its bindings; a scope can only take away. */
const SCOPES = ['https://www.googleapis.com/auth/cloud-platform'];

/** What relays are made from; a change makes a new one, and the group follows. */
export function createTemplate(
  context: Context,
  subnet: Subnetwork,
  manifestFrom: Output<string>,
): RegionInstanceTemplate {
  const { spec, labels, opts } = context;
  const name = `${spec.name}-relay`;
  const { email, script, after } = createIdentity(context, 'relay', { isLivezWatched: true, manifestFrom });
  return new RegionInstanceTemplate(
    name,
    {
      region: spec.location,
      machineType: spec.sizes.relay ?? SIZES.relay,
      disks: [{ sourceImage: IMAGE, boot: true, autoDelete: true, diskSizeGb: 10, labels }],
      networkInterfaces: [
        {
          subnetwork: subnet.id,
          stackType: 'IPV4_IPV6',
          accessConfigs: [{ networkTier: 'PREMIUM' }],
          ipv6AccessConfigs: [{ networkTier: 'PREMIUM' }],
        },
      ],
      metadata: HARDENED,
      metadataStartupScript: script,
      serviceAccount: { email, scopes: SCOPES },
      shieldedInstanceConfig: SHIELDED,
      tags: [name],
      labels,
    },
    { ...opts, dependsOn: after },
  );
}

/** A single machine; the old one goes first, because both cannot have its addresses. */
export function createMachine(
  context: Context,
  role: Role,
  place: Pick<InstanceArgs, 'networkInterfaces' | 'attachedDisks'>,
  disk?: string,
): Instance {
  const { spec, labels, opts } = context;
  const name = `${spec.name}-${role}`;
  const { email, script, after } = createIdentity(context, role, disk === undefined ? {} : { disk });
  return new Instance(
    name,
    {
      ...place,
      zone: spec.zones[0] ?? '',
      machineType: spec.sizes[role] ?? SIZES[role],
      bootDisk: { autoDelete: true, initializeParams: { image: IMAGE, size: 10, labels } },
      metadata: HARDENED,
      metadataStartupScript: script,
      serviceAccount: { email, scopes: SCOPES },
      shieldedInstanceConfig: SHIELDED,
      allowStoppingForUpdate: true,
      tags: [name],
      labels,
    },
    { ...opts, deleteBeforeReplace: true, dependsOn: after },
  );
}

interface Identity {
  readonly email: Output<string>;
  readonly script: Output<string>;
  /** What must be there before the machine starts. */
  readonly after: Resource[];
}

/** Who a machine is, and the script that it starts with: it may read its own secret files, the release, nothing else. */
function createIdentity(
  { spec, options, labels, opts, release }: Context,
  role: Role,
  {
    manifestFrom,
    ...more
  }: { readonly disk?: string; readonly isLivezWatched?: boolean; readonly manifestFrom?: Output<string> },
): Identity {
  const name = `${spec.name}-${role}`;
  const account = new Account(name, { accountId: `archipelago-${name}`.slice(0, 30) }, opts);
  const stored = new Secret(
    name,
    {
      secretId: `archipelago-${name}`,
      replication: { userManaged: { replicas: [{ location: spec.location }] } },
      labels,
    },
    opts,
  );
  const content = secret(bundleOf(options.secrets[role]));
  const version = new SecretVersion(name, { secret: stored.id, secretData: content }, opts);
  const member = account.email.apply((email) => `serviceAccount:${email}`);
  const accessor = 'roles/secretmanager.secretAccessor';
  new SecretIamMember(name, { secretId: stored.id, role: accessor, member }, opts);
  release?.letRead(role, member);
  const known = all([stored.id, manifestFrom ?? '', release?.url ?? '']);
  const script = known.apply(([secretName, from, ownRelease]) =>
    renderBoot({
      role,
      spec,
      options,
      secretsFrom: { kind: 'gcp', name: secretName, region: spec.location },
      manifestFrom: from,
      ownRelease,
      ...more,
    }),
  );
  return {
    email: account.email,
    script,
    after: [version, ...(release === undefined ? [] : [release.archive])],
  };
}
