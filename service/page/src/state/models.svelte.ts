/** The models and the presets, fetched once and shared by all views. */

import { listModels, listOptions } from '../api/models';
import type { Model } from '../api/types';
import { Vocabulary } from '../vocabulary';

class Models {
  list = $state.raw<Model[]>([]);
  default = $state('');
  /** What people choose a preset by, by its name. */
  presets = $state.raw<Record<string, string>>({});
  loaded = $state(false);
  #vocabularies = new Map<string, Vocabulary>();

  async load(): Promise<void> {
    const [found, options] = await Promise.all([listModels(), listOptions()]);
    this.presets = options.texts;
    this.#vocabularies.clear();
    this.list = found.models;
    this.default = found.default;
    this.loaded = true;
  }

  find(name: string): Model | undefined {
    return this.list.find((model) => model.name === (name || this.default));
  }

  vocabulary(name: string): Vocabulary {
    const model = this.find(name);
    const known = this.#vocabularies.get(model?.name ?? '');
    if (known) return known;
    const made = new Vocabulary(model?.classes ?? []);
    this.#vocabularies.set(model?.name ?? '', made);
    return made;
  }
}

export const models = new Models();
