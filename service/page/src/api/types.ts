/** What the API answers with: the part of its schemas that the page uses (see /openapi.json). */

export type ItemState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
export type JobState = 'queued' | 'running' | 'succeeded' | 'partly_failed' | 'failed' | 'cancelled';
export type Decision = 'accept' | 'reject';
/** One of those that `GET /v1/options` lists. */
export type Preset = string;
export type UnknownTags = 'learn' | 'open' | 'refuse';
export type Why = 'exact' | 'synonym' | 'plural' | 'kind' | 'mapping' | 'unknown' | 'ambiguous';
export type Measure =
  'index' | 'doubt' | 'ignore_ratio' | 'area_ratio' | 'score' | 'open_tags' | 'empty_tags';

export interface ItemError {
  code: string;
  kind: string;
  detail: string;
  fix: string;
}

/** A tag as written and as understood; null where it is not, or shall be ignored (`mapping`). */
export interface UnderstoodTag {
  written: string;
  understood: string | null;
  why: Why;
  suggestions: string[];
}

export interface CheckedWord extends UnderstoodTag {
  photos: number;
}

export interface TagCheck {
  words: CheckedWord[];
  photos: number;
  open_photos: number;
  wholly_open_photos: number;
  notes: string[];
}

export interface Job {
  id: string;
  name: string;
  state: JobState;
  model: string;
  model_version: string;
  preset: Preset;
  total: number;
  counts: Record<ItemState, number>;
  cancel_requested: boolean;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  images_per_second: number;
  seconds_left: number | null;
  revision: number;
  open_photos: number;
  empty_tags: Record<string, number>;
  notes: string[];
}

export interface Thresholds {
  high: number;
  low: number;
  plain: number;
}

export interface LabelOptions {
  preset: Preset;
  thresholds: Thresholds | null;
  refine: 'crf' | 'none';
  ignore_band: boolean;
}

export interface JobDetails extends Job {
  options: { label: LabelOptions };
}

export interface JobPage {
  jobs: Job[];
  next: string | null;
}

export interface Artifact {
  name: string;
  media_type: string;
  size: number;
}

export interface ClassFigures {
  name: string;
  index: number;
  area: number;
  area_ratio: number;
  score: number;
  peak: number;
  tag_probability: number;
}

export interface Summary {
  tags: string[];
  tag_source: 'user' | 'model';
  words: UnderstoodTag[];
  open_tags: string[];
  empty_tags: string[];
  classes: ClassFigures[];
  ignore_ratio: number;
  area_ratio: number;
  score: number;
  doubt: number;
  width: number;
  height: number;
}

export interface Item {
  id: string;
  job: string;
  name: string;
  state: ItemState;
  tags: string[] | null;
  attempts: number;
  error: ItemError | null;
  decision: Decision | null;
  digest: string;
  size: number;
  width: number;
  height: number;
  summary: Summary | null;
  artifacts: Artifact[];
  finished_at: string | null;
}

export interface ItemPage {
  items: Item[];
  total: number;
  next: string | null;
}

export interface ModelClass {
  name: string;
  index: number;
  synonyms: string[];
  color: [number, number, number];
}

export interface Model {
  name: string;
  version: string;
  default: boolean;
  licence: string;
  classes: ModelClass[];
  backbone: string;
  input_size: number;
  thresholds: Thresholds;
  figures: Record<string, unknown>;
  provenance: Record<string, unknown>;
  warm_on: string[];
}

export interface Options {
  /** What people choose a preset by, by its name. */
  texts: Record<string, string>;
}

export interface ModelList {
  default: string;
  models: Model[];
}

export interface Format {
  name: string;
  description: string;
}

export type Decisions = 'all' | 'accepted' | 'not_rejected';

export interface ExportOptions {
  mask: 'pseudo_mask' | 'segmentation';
  images: boolean;
  subset: string;
  components: boolean;
  min_area: number;
  tolerance: number;
  regions: 'brush' | 'polygon';
  open_photos: boolean;
}

export interface ExportRequest {
  format: string;
  decisions: Decisions;
  options: ExportOptions;
}

export interface Export {
  id: string;
  job: string;
  format: string;
  decisions: Decisions;
  state: 'queued' | 'running' | 'done' | 'failed';
  items: number;
  total: number;
  skipped: number;
  open_photos: number;
  size: number;
  error: ItemError | null;
  created_at: string;
}
