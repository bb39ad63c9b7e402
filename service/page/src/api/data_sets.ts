/** Data sets: items of several jobs under one name, kept, counted, forgotten. */

import { getJson, sendJson } from './request';
import type { DataSet, Member } from './types';

/** What reports and exports are about: a job, or the data set of that name whose first job it is. They lie with the job. */
export interface Subject {
  job: string;
  /** Empty for the job alone. */
  dataSet: string;
}

const named = (name: string) => `data_sets/${encodeURIComponent(name)}`;

/** Where reports and exports of a subject are asked for. */
export const placeOf = ({ job, dataSet }: Subject) => (dataSet ? named(dataSet) : `jobs/${job}`);

/** Whether one of those that lie with its job is the subject's own. */
export const isOf =
  ({ dataSet }: Subject) =>
  (made: { data_set: string }) =>
    made.data_set === dataSet;

export const listDataSets = async (signal?: AbortSignal) =>
  (await getJson<{ data_sets: string[] }>('data_sets', signal)).data_sets;

export const getDataSet = (name: string, signal?: AbortSignal) => getJson<DataSet>(named(name), signal);

/** Keep a data set, in the place of one of that name. */
export const keepDataSet = (name: string, members: readonly Member[]) =>
  sendJson<DataSet>(named(name), { method: 'PUT', json: { members } });

/** Forget a data set; its jobs, and exports that were made, stay. */
export const deleteDataSet = (name: string) => sendJson<void>(named(name), { method: 'DELETE' });
