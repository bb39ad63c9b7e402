/** The models and the presets, fetched once and shared by all views. */

import { listModels, listOptions } from '../api/models';
import type { JobDetails, Model } from '../api/types';
import { Vocabulary } from '../vocabulary';

class Models {
  list = $state.raw<Model[]>([]);
  default = $state('');
  /** What people choose a preset by, by its name. */
  presets = $state.raw<Record<string, string>>({});
  /** The same of trainings. */
  recipes = $state.raw<Record<string, string>>({});
  loaded = $state(false);
  #vocabularies = new Map<string, Vocabulary>();
  #ofJobs = new Map<string, Vocabulary>();

  async load(): Promise<void> {
    const [found, options] = await Promise.all([listModels(), listOptions()]);
    this.presets = options.texts;
    this.recipes = options.training_texts;
    this.#vocabularies.clear();
    this.list = found.models;
    this.default = found.default;
    this.loaded = true;
  }

  find(name: string): Model | undefined {
    return this.list.find((model) => model.name === (name || this.default));
  }

  /** The model of a job with the classes of its labels: what the job learnt is among them. */
  of(job: JobDetails | null): Model | undefined {
    const model = this.find(job?.model ?? '');
    return model && job?.classes.length ? { ...model, classes: job.classes } : model;
  }

  /** The name by which `vocabulary` finds the classes of a job's labels. */
  nameOf(job: JobDetails): string {
    if (!job.classes.length) return job.model;
    const name = `${job.id} ${job.model_version}`;
    if (!this.#ofJobs.has(name)) this.#ofJobs.set(name, new Vocabulary(job.classes));
    return name;
  }

  vocabulary(name: string): Vocabulary {
    const ofJob = this.#ofJobs.get(name);
    if (ofJob) return ofJob;
    const model = this.find(name);
    const known = this.#vocabularies.get(model?.name ?? '');
    if (known) return known;
    const made = new Vocabulary(model?.classes ?? []);
    this.#vocabularies.set(model?.name ?? '', made);
    return made;
  }
}

export const models = new Models();
