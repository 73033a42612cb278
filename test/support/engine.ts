/**
 * A small Pulumi engine in this process. It runs the whole program as `pulumi up` and `pulumi preview` do, through the
 * SDK's own entry point in a process of its own, and speaks the SDK's own gRPC with it. So tests see what the mocks of
 * the SDK do not show: options, dependencies, hooks that are really called, and what a run leaves for the next one.
 *
 * No provider is behind it. A resource's outputs are its inputs and what `computedOutputs` makes up.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type * as Grpc from '@grpc/grpc-js';
import type * as Callbacks from '@pulumi/pulumi/proto/callback_pb.js';
import type * as Engines from '@pulumi/pulumi/proto/engine_pb.js';
import type * as Resources from '@pulumi/pulumi/proto/resource_pb.js';
import type { Registered } from './mock-engine.ts';

const ROOT = join(import.meta.dirname, '../..');
const PROJECT = 'archipelago';
// Protocol and transport are the SDK's own, so that both ends of the wire speak the same version.
const sdkRequire = createRequire(createRequire(import.meta.url).resolve('@pulumi/pulumi'));
const grpc = sdkRequire('@grpc/grpc-js') as typeof Grpc;
const resources = sdkRequire('./proto/resource_pb.js') as typeof Resources;
const engines = sdkRequire('./proto/engine_pb.js') as typeof Engines;
const callbacks = sdkRequire('./proto/callback_pb.js') as typeof Callbacks;
const { ResourceMonitorService } = sdkRequire('./proto/resource_grpc_pb.js') as Services;
const { EngineService } = sdkRequire('./proto/engine_grpc_pb.js') as Services;
const { CallbacksClient } = sdkRequire('./proto/callback_grpc_pb.js') as {
  CallbacksClient: new (
    target: string,
    credentials: Grpc.ChannelCredentials,
  ) => Grpc.Client & {
    invoke: (
      request: Callbacks.CallbackInvokeRequest,
      done: (error: Error | null, response: Callbacks.CallbackInvokeResponse) => void,
    ) => void;
  };
};
const { Struct } = sdkRequire('google-protobuf/google/protobuf/struct_pb.js') as {
  Struct: { fromJavaScript: (value: unknown) => Struct };
};
const { Empty } = sdkRequire('google-protobuf/google/protobuf/empty_pb.js') as { Empty: new () => object };

/** A protobuf Struct, of which the SDK has no type. */
interface Struct {
  readonly toJavaScript: () => Record<string, unknown>;
}
type Services = Readonly<Record<string, Grpc.ServiceDefinition>>;
type Answer = (error: Partial<Grpc.ServiceError> | null, value?: object) => void;
type Handler<Request> = (call: { readonly request: Request }, done: Answer) => void;

/** What one resource was registered with. */
export interface Registration extends Registered {
  readonly urn: string;
  /** Everything that must be there first, by `type name`. */
  readonly after: readonly string[];
  readonly hooks: readonly string[];
  readonly version: string;
}

interface Kept {
  readonly id: string;
  readonly inputs: Record<string, unknown>;
  readonly outputs: Record<string, unknown>;
}

/** What a run leaves behind: resources by their URN, and replaced ones that are still to be deleted. */
export interface State {
  readonly kept: ReadonlyMap<string, Kept>;
  readonly pending: readonly string[];
}

export interface Run {
  readonly code: number | null;
  /** What the user sees: the program's log, and both its streams. */
  readonly said: string;
  readonly registered: readonly Registration[];
  /** The stack's outputs. */
  readonly outputs: Record<string, unknown>;
  /** Calls that would need a provider's API to be up during a preview. */
  readonly invoked: readonly string[];
  /** `type name` of what was created, in the order in which that was done. */
  readonly created: readonly string[];
  /** Ids of what was deleted at the end, which happens only after a run without a fault. */
  readonly deleted: readonly string[];
  readonly state: State;
}

export interface RunOptions {
  /** As in a stack file: names with their namespace, values of any kind. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly preview?: boolean;
  /** What an earlier run left. */
  readonly before?: State;
  /** Outputs that a provider would compute for a new resource. */
  readonly computedOutputs: (name: string, count: number) => Record<string, unknown>;
}

/** Types that are replaced when an input changes; all others are updated in place. */
const REPLACED = ['hcloud:index/server:Server', 'hcloud:index/loadBalancerTarget:LoadBalancerTarget'];
const PROGRAM_TIMEOUT_MS = 300_000;

/** Runs the program once. Rejects only when the engine itself fails; a program that fails has a code. */
export async function runProgram(options: RunOptions): Promise<Run> {
  const engine = new Engine(options);
  const server = new grpc.Server();
  server.addService(ResourceMonitorService as Grpc.ServiceDefinition, engine.monitor());
  server.addService(EngineService as Grpc.ServiceDefinition, engine.log());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  try {
    const { code, said } = await startProgram(options, `127.0.0.1:${port}`);
    return engine.finish(code, said);
  } finally {
    server.forceShutdown();
  }
}

/** What pulumi-language-nodejs starts: the same file, the same parameters. */
async function startProgram(
  { config, preview }: RunOptions,
  address: string,
): Promise<{ readonly code: number | null; readonly said: string }> {
  const flags = {
    monitor: address,
    engine: address,
    project: PROJECT,
    stack: 'test',
    pwd: join(ROOT, 'infra'),
    'root-directory': ROOT,
    parallel: '16',
    ...(preview === true ? { 'dry-run': 'true' } : {}),
  };
  const parameters = [
    sdkRequire.resolve('./cmd/run/index.js'),
    ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
    'main.mjs',
  ];
  const texts = Object.entries(config).map(([name, value]) => [
    name,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  const child = spawn(process.execPath, parameters, {
    env: {
      PATH: process.env['PATH'] ?? '',
      PULUMI_CONFIG: JSON.stringify(Object.fromEntries(texts)),
      PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(['archipelago:secrets']),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PROGRAM_TIMEOUT_MS,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve).once('error', reject);
  });
  return { code, said };
}

class Engine {
  readonly #options: RunOptions;
  readonly #registered: Registration[] = [];
  readonly #kept = new Map<string, Kept>();
  readonly #created: string[] = [];
  readonly #replaced: string[];
  readonly #hooks = new Map<string, Resources.RegisterResourceHookRequest>();
  readonly #logged: string[] = [];
  readonly #invoked: string[] = [];
  #outputs: Record<string, unknown> = {};
  #count = 0;
  /** Set when a hook has failed: the real engine then starts nothing new. */
  #isStopped = false;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#replaced = [...(options.before?.pending ?? [])];
    this.#count = options.before?.kept.size ?? 0;
  }

  /** The service that registers resources. */
  monitor(): Grpc.UntypedServiceImplementation {
    const empty: Handler<unknown> = (_, done) => done(null, new Empty());
    const refuse = (label: string): void => {
      this.#invoked.push(label);
    };
    const no = { code: grpc.status.UNIMPLEMENTED, details: 'not on this engine' };
    const handlers = {
      getDeploymentInfo: ((_, done) => done(no)) as Handler<unknown>,
      supportsFeature: ((_, done) => {
        const response = new resources.SupportsFeatureResponse();
        response.setHassupport(true);
        done(null, response);
      }) as Handler<unknown>,
      registerResource: (({ request }, done) => {
        void this.#register(request, done);
      }) as Handler<Resources.RegisterResourceRequest>,
      registerResourceOutputs: (({ request }, done) => {
        this.#outputs = javaScriptOf(request.getOutputs());
        done(null, new Empty());
      }) as Handler<Resources.RegisterResourceOutputsRequest>,
      registerResourceHook: (({ request }, done) => {
        this.#hooks.set(request.getName(), request);
        done(null, new Empty());
      }) as Handler<Resources.RegisterResourceHookRequest>,
      registerStackTransform: empty,
      registerStackInvokeTransform: empty,
      signalAndWaitForShutdown: empty,
      invoke: (({ request }, done) => {
        refuse(request.getTok());
        done(no);
      }) as Handler<Resources.ResourceInvokeRequest>,
      call: (({ request }, done) => {
        refuse(request.getTok());
        done(no);
      }) as Handler<Resources.ResourceCallRequest>,
      readResource: (({ request }, done) => {
        refuse(request.getType());
        done(no);
      }) as Handler<Resources.ReadResourceRequest>,
    };
    return handlers;
  }

  /** The service that takes the program's log. */
  log(): Grpc.UntypedServiceImplementation {
    const handlers = {
      log: (({ request }, done) => {
        if (request.getSeverity() !== engines.LogSeverity.DEBUG) this.#logged.push(request.getMessage());
        done(null, new Empty());
      }) as Handler<Engines.LogRequest>,
      getRootResource: ((_, done) => done(null, new engines.GetRootResourceResponse())) as Handler<unknown>,
      setRootResource: ((_, done) => done(null, new engines.SetRootResourceResponse())) as Handler<unknown>,
    };
    return handlers;
  }

  /** What is left when the program has ended. Old resources go only now, and only if nothing failed. */
  finish(code: number | null, said: string): Run {
    const isClean = code === 0 && !this.#isStopped && this.#options.preview !== true;
    const before = this.#options.before?.kept ?? new Map<string, Kept>();
    const gone = [...before].filter(([urn]) => !this.#kept.has(urn));
    const deleted = isClean ? [...this.#replaced, ...gone.map(([, { id }]) => id)] : [];
    return {
      code: this.#isStopped && code === 0 ? 1 : code,
      said: [...this.#logged, said].join('\n'),
      registered: this.#registered,
      outputs: this.#outputs,
      invoked: this.#invoked,
      created: this.#created,
      deleted,
      state: {
        kept: isClean ? this.#kept : new Map([...before, ...this.#kept]),
        pending: isClean ? [] : this.#replaced,
      },
    };
  }

  async #register(request: Resources.RegisterResourceRequest, done: Answer): Promise<void> {
    const shutDown = { code: grpc.status.UNAVAILABLE, details: 'the engine is shutting down' };
    if (this.#isStopped) {
      done(shutDown);
      return;
    }
    const type = request.getType();
    const urn = `urn:pulumi:test::${PROJECT}::${type}::${request.getName()}`;
    const inputs = javaScriptOf(request.getObject());
    if (type !== 'pulumi:pulumi:Stack') this.#registered.push(registrationOf(request, urn, inputs));
    const kept = await this.#apply(urn, request, inputs);
    if (this.#isStopped) {
      done(shutDown);
      return;
    }
    const response = new resources.RegisterResourceResponse();
    response.setUrn(urn);
    response.setId(kept.id);
    response.setObject(Struct.fromJavaScript(kept.outputs) as never);
    done(null, response);
  }

  /** Creates, updates, replaces or leaves a resource. In a preview nothing that a provider computes is known. */
  async #apply(
    urn: string,
    request: Resources.RegisterResourceRequest,
    inputs: Record<string, unknown>,
  ): Promise<Kept> {
    const type = request.getType();
    const name = request.getName();
    if (this.#options.preview === true || !request.getCustom()) return { id: '', inputs, outputs: inputs };
    const old = this.#options.before?.kept.get(urn);
    const isSame = JSON.stringify(old?.inputs) === JSON.stringify(inputs);
    if (old !== undefined && (isSame || !REPLACED.includes(type))) {
      const same = { ...old, inputs, outputs: { ...old.outputs, ...inputs } };
      this.#kept.set(urn, same);
      return same;
    }
    this.#count += 1;
    const outputs = { ...inputs, ...this.#options.computedOutputs(name, this.#count) };
    // Hetzner's ids are numbers, and the program reckons with that.
    const id = type.startsWith('hcloud:') ? String(this.#count) : `${name}-${this.#count}`;
    const kept = { id, inputs, outputs };
    if (old !== undefined) this.#replaced.push(old.id);
    this.#kept.set(urn, kept);
    this.#created.push(labelOf(urn));
    for (const hook of request.getHooks()?.getAfterCreateList() ?? []) {
      const error = await this.#callHook(hook, urn, kept);
      if (error === '') continue;
      this.#isStopped = true;
      this.#logged.push(error);
    }
    return kept;
  }

  /** Calls back into the program; gives what the hook complained of, or an empty text. */
  async #callHook(name: string, urn: string, { id, outputs }: Kept): Promise<string> {
    const callback = this.#hooks.get(name)?.getCallback();
    if (callback === undefined) return `no hook ${name} was registered`;
    const argument = new resources.ResourceHookRequest();
    argument.setUrn(urn);
    argument.setId(id);
    argument.setNewOutputs(Struct.fromJavaScript(outputs) as never);
    const call = new callbacks.CallbackInvokeRequest();
    call.setToken(callback.getToken());
    call.setRequest(argument.serializeBinary());
    const client = new CallbacksClient(callback.getTarget(), grpc.credentials.createInsecure());
    try {
      const bytes = await new Promise<Uint8Array>((resolve, reject) => {
        client.invoke(call, (error, response) =>
          error === null ? resolve(response.getResponse_asU8()) : reject(error),
        );
      });
      return resources.ResourceHookResponse.deserializeBinary(bytes).getError();
    } finally {
      client.close();
    }
  }
}

function javaScriptOf(struct: unknown): Record<string, unknown> {
  return (struct as Struct | undefined)?.toJavaScript() ?? {};
}

function registrationOf(
  request: Resources.RegisterResourceRequest,
  urn: string,
  inputs: Record<string, unknown>,
): Registration {
  return {
    type: request.getType(),
    name: request.getName(),
    urn,
    inputs,
    isProtected: request.getProtect() === true,
    deletesBeforeReplace: request.getDeletebeforereplace(),
    provider: request.getProvider(),
    after: request.getDependenciesList().map(labelOf).toSorted(),
    hooks: request.getHooks()?.getAfterCreateList() ?? [],
    version: request.getVersion(),
  };
}

/** `Server hetzner-relay-0` for its URN. */
function labelOf(urn: string): string {
  const [type = '', name = ''] = urn.split('::').slice(2);
  return `${type.split(':').at(-1)} ${name}`;
}
