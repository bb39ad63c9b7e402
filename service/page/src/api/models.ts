/** Models: listed, made warm, chosen. */

import { getJson, sendJson } from './request';
import type { Model, ModelList, Options } from './types';

export const listModels = (signal?: AbortSignal) => getJson<ModelList>('models', signal);

export const listOptions = (signal?: AbortSignal) => getJson<Options>('options', signal);

export const warmModel = (name: string, warm: boolean) =>
  sendJson<Model>(`models/${encodeURIComponent(name)}/${warm ? 'load' : 'unload'}`, {
    method: 'POST',
    repeatable: true,
  });

export const setDefaultModel = (name: string) =>
  sendJson<Model>('models/default', { method: 'PUT', json: { name } });
