/** Models: listed, made warm, chosen. */

import { saveResponse } from './exports';
import { getJson, send, sendJson } from './request';
import type { Model, ModelList, ModelVersions, Options } from './types';

export const listModels = (signal?: AbortSignal) => getJson<ModelList>('models', signal);

export const listOptions = (signal?: AbortSignal) => getJson<Options>('options', signal);

export const warmModel = (name: string, warm: boolean) =>
  sendJson<Model>(`models/${encodeURIComponent(name)}/${warm ? 'load' : 'unload'}`, {
    method: 'POST',
    repeatable: true,
  });

const own = (name: string, part = '') => `models/${encodeURIComponent(name)}${part}`;

export const modelVersions = (name: string, signal?: AbortSignal) =>
  getJson<ModelVersions>(own(name, '/versions'), signal);

export const promoteModel = (name: string, number: number) =>
  sendJson<ModelVersions>(own(name, '/promote'), { method: 'POST', json: { number }, repeatable: true });

export const rollBackModel = (name: string) =>
  sendJson<ModelVersions>(own(name, '/rollback'), { method: 'POST' });

export const deleteModel = (name: string, number?: number) =>
  send(own(name, number === undefined ? '' : `/versions/${number}`), { method: 'DELETE' });

/** Save a version as a zip that works when it is unpacked into a models folder. */
export const saveModel = (name: string, number: number) =>
  saveResponse(own(name, `/download?version=${number}`), `${name}-${number}.zip`);

export const setDefaultModel = (name: string) =>
  sendJson<Model>('models/default', { method: 'PUT', json: { name } });
