/** Trainings: asked for, looked at, decided on. */

import { getBlob, getJson, sendJson } from './request';
import type { Training, TrainingDetails, TrainingPage } from './types';

export const FINAL_TRAININGS: ReadonlySet<Training['state']> = new Set(['succeeded', 'failed', 'cancelled']);

export interface TrainingRequest {
  name: string;
  /** Id of the job whose photos and tags are taken, or empty where `files` are sent. */
  job: string;
  files: readonly File[];
  /** Of tags; null where an archive among the files has one. */
  table: File | null;
  preset: string;
  model: string;
  classes: readonly string[];
}

export const listTrainings = (signal?: AbortSignal) => getJson<TrainingPage>('trainings?limit=50', signal);

export const getTraining = (id: string, signal?: AbortSignal) =>
  getJson<TrainingDetails>(`trainings/${id}`, signal);

export const getTrainingPicture = (id: string, number: number, which: 'before' | 'after') =>
  getBlob(`trainings/${id}/pictures/${number}/${which}`);

/** Send the request for a training; `key` makes one of it however often it is sent. */
export function startTraining(asked: TrainingRequest, key: string): Promise<Training> {
  const { name, job, preset, model, classes } = asked;
  const options = { method: 'POST', repeatable: true, headers: { 'idempotency-key': key } } as const;
  if (job) return sendJson<Training>('models', { ...options, json: { name, job, preset, model, classes } });
  const body = new FormData();
  for (const [field, value] of Object.entries({ name, preset, model })) body.append(field, value);
  for (const word of classes) body.append('classes', word);
  for (const file of asked.files) body.append(isArchive(file) ? 'archive' : 'images', file, file.name);
  if (asked.table) body.append('manifest', asked.table, asked.table.name);
  return sendJson<Training>('models', { ...options, body });
}

type Act = 'cancel' | 'resume' | 'promote' | 'discard';

export const actOnTraining = (id: string, act: Act) =>
  sendJson<Training>(`trainings/${id}/${act}`, { method: 'POST', repeatable: true });

export const deleteTraining = (id: string) => sendJson<void>(`trainings/${id}`, { method: 'DELETE' });

const isArchive = (file: File) => /\.(zip|tar|tgz|tar\.gz)$/i.test(file.name);
