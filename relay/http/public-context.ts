/**
 * A request to the public side of a relay, with Node's own request at hand: bodies are read from the socket.
 */
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';

export type PublicContext = Context<{ Bindings: HttpBindings }>;
