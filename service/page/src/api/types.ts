/** What the API is asked and answers: names for its own description, from which `npm run types` makes the types. */

import type { components, paths } from './openapi';

type Schemas = components['schemas'];
/** Gives fields that the description leaves open the type of what the service puts there. */
type Told<Schema, Fields> = Omit<Schema, keyof Fields> & Fields;

export type Thresholds = Schemas['Thresholds'];
/** One of those that `GET /v1/options` lists. */
export type Preset = string;
type Chosen = { preset: Preset };
export type LabelOptions = Told<Schemas['LabelOptions'], Chosen & { thresholds: Thresholds | null }>;
export type Options = Told<
  Schemas['OptionsView'],
  { texts: Record<Preset, string>; training_texts: Record<string, string> }
>;

type Counts = { counts: Record<ItemState, number> };
export type Job = Told<Schemas['JobView'], Chosen & Counts>;
export type JobDetails = Told<Schemas['JobDetails'], Chosen & Counts & { options: { label: LabelOptions } }>;
export type JobPage = Told<Schemas['JobPage'], { jobs: Job[] }>;
export type JobState = Job['state'];
export type UnknownTags = Job['unknown_tags'];

export type UnderstoodTag = Schemas['UnderstoodTag'];
export type Why = UnderstoodTag['why'];
export type CheckedWord = Schemas['CheckedWord'];
export type TagCheck = Schemas['CheckView'];

export interface ClassFigures {
  name: string;
  index: number;
  area: number;
  area_ratio: number;
  score: number;
  peak: number;
  tag_probability: number;
}

export type Summary = Told<Schemas['Summary'], { classes: ClassFigures[] }>;
export type Item = Told<Schemas['ItemView'], { summary: Summary | null }>;
export type ItemState = Schemas['ItemView']['state'];
export type ItemPage = Told<Schemas['ItemPageView'], { items: Item[] }>;
export type NextItems = Told<Schemas['NextView'], { items: Item[] }>;
export type ItemError = Schemas['ItemError'];
export type Artifact = Schemas['ArtifactView'];
export type Decision = NonNullable<Item['decision']>;
type Search = NonNullable<paths['/v1/jobs/{job}/items']['get']['parameters']['query']>;
export type Measure = NonNullable<Search['order']>;

export type Model = Told<Schemas['ModelView'], { thresholds: Thresholds }>;
export type ModelVersions = Schemas['VersionList'];
export type WordReport = Schemas['WordReport'];
export type Learning = Schemas['LearningView'];
export type ModelClass = Schemas['ClassView'];
export type ModelList = Told<Schemas['ModelList'], { models: Model[] }>;

export type Format = Schemas['FormatView'];
export type Export = Schemas['ExportView'];
export type Decisions = Export['decisions'];
/** The settings of an export that the page offers. */
export type ExportOptions = Omit<
  Schemas['ExportOptions'],
  'image_prefix' | 'cam_dtype' | 'min_region' | 'fill_holes'
>;
export type ExportRequest = Pick<Schemas['ExportRequest'], 'format' | 'decisions'> & {
  options: ExportOptions;
};

export type DataSet = Schemas['DataSetView'];
export type MemberCount = Schemas['MemberView'];
export type Member = Omit<MemberCount, 'photos'>;

export type Training = Schemas['TrainingView'];
export type TrainingDetails = Told<Schemas['TrainingDetails'], { history: Record<string, number>[] }>;
export type TrainingPage = Schemas['TrainingPage'];
export type TrainingFigures = Schemas['TrainingFigures'];

export type TablePreview = Schemas['TablePreview'];
export type TableRow = Schemas['RowView'];

export type Revision = Schemas['RevisionView'];
export type TakenRegion = Schemas['TakenRegion'];
export type Relearning = Schemas['RelearningView'];
export type Change = Schemas['ChangeView'];

export type Report = Schemas['ReportView'];
export type ReportKind = Report['kind'];
export type Cure = Told<Schemas['CureView'], { body: Record<string, unknown> }>;
export type Finding = Told<Schemas['FindingView'], { cures: Cure[] }>;
export type FindingKind = Finding['kind'];
export type FindingPage = Told<
  Schemas['FindingPage'],
  { findings: Finding[]; counts: Partial<Record<FindingKind, number>> }
>;
export type FoundPhoto = Schemas['FoundPhoto'];
export type Statistics = Told<Schemas['Statistics'], { together: Record<string, Record<string, number>> }>;

export type Audit = Schemas['AuditView'];
