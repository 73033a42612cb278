/**
 * What every machine of a site at AWS is made from: image, boot script, secret files, identity, metadata service.
 */

import { LaunchTemplate } from '@pulumi/aws/ec2/index.js';
import { Role as IamRole, InstanceProfile, RolePolicy } from '@pulumi/aws/iam/index.js';
import { Secret, SecretVersion } from '@pulumi/aws/secretsmanager/index.js';
import type { input } from '@pulumi/aws/types/index.js';
import { all, type CustomResourceOptions, type Output, output, secret } from '@pulumi/pulumi';
import { renderBoot } from '../boot.ts';
import { bundleOf } from '../secret-files.ts';
import type { Role, SiteOptions, SiteSpec } from '../site.ts';
import type { StoredRelease } from './aws-release.ts';

/** Resolved by EC2 when a machine starts, so neither a preview nor an `up` asks anybody. */
const IMAGE = 'resolve:ssm:/aws/service/debian/release/13/latest/amd64';
const SIZES: Readonly<Record<Role, string>> = {
  relay: 't3.small',
  redis: 't3.small',
  nameserver: 't3.small',
};

/** What a site is made from. */
export interface SiteContext {
  readonly spec: SiteSpec;
  readonly options: SiteOptions;
  readonly tags: Readonly<Record<string, string>>;
  readonly opts: CustomResourceOptions;
}

/** What the sections of one site share. */
export interface Context extends SiteContext {
  readonly release: StoredRelease | undefined;
}

interface TemplateParts {
  readonly boot: Output<{ readonly disk?: string; readonly group?: string; readonly manifestFrom?: string }>;
  readonly networkInterface: input.ec2.LaunchTemplateNetworkInterface;
}

/** Everything about a machine but its place: image, boot script, secret files, what it may do, how it is guarded. */
export function createTemplate(context: Context, role: Role, parts: TemplateParts): LaunchTemplate {
  const { spec, options, tags, opts, release } = context;
  const name = `${spec.name}-${role}`;
  const stored = new Secret(
    name,
    { description: `Secret files of ${name}`, recoveryWindowInDays: 7, tags },
    opts,
  );
  const content = secret(bundleOf(options.secrets[role]));
  const version = new SecretVersion(name, { secretId: stored.id, secretString: content }, opts);
  const profile = createProfile(context, role, stored);
  const known = all([stored.name, parts.boot, release?.url ?? '']);
  const script = known.apply(([secretName, more, ownRelease]) =>
    renderBoot({
      role,
      spec,
      options,
      secretsFrom: { kind: 'aws', name: secretName, region: spec.location },
      ownRelease,
      ...more,
    }),
  );
  return new LaunchTemplate(
    name,
    {
      imageId: IMAGE,
      instanceType: spec.sizes[role] ?? SIZES[role],
      userData: script.apply((text) => Buffer.from(text).toString('base64')),
      iamInstanceProfile: { arn: profile.arn },
      metadataOptions: { httpEndpoint: 'enabled', httpTokens: 'required', httpPutResponseHopLimit: 1 },
      networkInterfaces: [parts.networkInterface],
      blockDeviceMappings: [
        {
          deviceName: '/dev/xvda',
          ebs: { encrypted: 'true', volumeType: 'gp3', volumeSize: 10, deleteOnTermination: 'true' },
        },
      ],
      tagSpecifications: ['instance', 'volume'].map((resourceType) => ({
        resourceType,
        tags: { ...tags, Name: name },
      })),
      updateDefaultVersion: true,
      tags,
    },
    {
      ...opts,
      dependsOn: [version, ...(release === undefined ? [] : [release.archive])],
      // A single machine follows its template's id; a new version of the same template would not replace it.
      ...(role === 'relay' ? {} : { replaceOnChanges: ['userData', 'instanceType', 'imageId'] }),
    },
  );
}

/** A machine may read its own secret files and the release, and a relay may say to its group that it is alive. */
function createProfile({ spec, tags, opts, release }: Context, role: Role, stored: Secret): InstanceProfile {
  const name = `${spec.name}-${role}`;
  const iamRole = new IamRole(
    name,
    {
      assumeRolePolicy: JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          { Effect: 'Allow', Principal: { Service: 'ec2.amazonaws.com' }, Action: 'sts:AssumeRole' },
        ],
      }),
      tags,
    },
    opts,
  );
  const group = `arn:aws:autoscaling:${spec.location}:*:autoScalingGroup:*:autoScalingGroupName/archipelago-${name}`;
  const readsRelease = release?.statement(role) ?? output<object[]>([]);
  const policy = all([stored.arn, readsRelease]).apply(([Resource, more]) =>
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource },
        ...(role === 'relay'
          ? [{ Effect: 'Allow', Action: 'autoscaling:CompleteLifecycleAction', Resource: group }]
          : []),
        ...more,
      ],
    }),
  );
  new RolePolicy(name, { role: iamRole.id, policy }, opts);
  return new InstanceProfile(name, { role: iamRole.name, tags }, opts);
}
