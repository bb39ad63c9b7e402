/** Reports of a job or a data set: asked for, watched, read; and what would mend a finding. */

import { isOf, placeOf, type Subject } from './data_sets';
import { getBlob, getJson, pause, sendJson } from './request';
import type { Cure, FindingKind, FindingPage, Job, Report, ReportKind, Statistics } from './types';

const LOOK_MS = 700;

export const askReport = (of: Subject, kind: ReportKind) =>
  sendJson<Report>(`${placeOf(of)}/reports`, { method: 'POST', json: { kind }, repeatable: true });

/** The newest report of a kind, or none. */
export const lastReport = async (of: Subject, kind: ReportKind, signal?: AbortSignal) => {
  const reports = await getJson<Report[]>(`jobs/${of.job}/reports`, signal);
  return reports.filter(isOf(of)).find((report) => report.kind === kind) ?? null;
};

/** Tell how far a report is until it ends. */
export async function followReport(
  report: Report,
  tell: (report: Report) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let found = report; ;) {
    tell(found);
    if (found.state === 'done' || found.state === 'failed') return;
    await pause(LOOK_MS, signal);
    found = await getJson<Report>(`jobs/${report.job}/reports/${report.id}`, signal);
  }
}

export const getStatistics = (report: Report, signal?: AbortSignal) =>
  getJson<Statistics>(`jobs/${report.job}/reports/${report.id}/statistics`, signal);

export const listFindings = (
  report: Report,
  kind: FindingKind | '',
  start: number,
  limit: number,
  signal?: AbortSignal,
) =>
  getJson<FindingPage>(
    `jobs/${report.job}/reports/${report.id}/findings?start=${start}&limit=${limit}${kind && `&kind=${kind}`}`,
    signal,
  );

/** Mend a finding; the answer is the job that labels the photo again where its tags were changed. */
export async function carryOut(cure: Cure): Promise<Job | null> {
  const made = await sendJson<unknown>(cure.path.replace(/^\/v1\//, ''), {
    method: 'PATCH',
    json: cure.body,
    headers: cure.if_match ? { 'if-match': cure.if_match } : {},
  });
  return cure.path.endsWith('/tags') ? (made as Job) : null;
}

export const getSmallPicture = (job: string, item: string, side: number, signal?: AbortSignal) =>
  getBlob(`jobs/${job}/items/${item}/preview?side=${side}`, signal);
