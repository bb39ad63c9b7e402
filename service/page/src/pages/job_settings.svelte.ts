/** How a job shall be labelled, as it is put together. */

import type { Preset, Thresholds, UnknownTags } from '../api/types';

export class JobSettings {
  /** Empty: the default. */
  model = $state('');
  preset = $state<Preset>('balanced');
  /** None: those of the model. */
  thresholds = $state.raw<Thresholds | null>(null);
  ignoreBand = $state(true);
  segmentation = $state(false);
  unknownTags = $state<UnknownTags>('learn');
  /** Own words and the classes that they stand for. */
  mapping = $state.raw<Record<string, string>>({});
  name = $state('');

  /** Fields of the request that makes the job. */
  fields(): [string, string][] {
    const fields: [string, string][] = [
      ['model', this.model],
      ['preset', this.preset],
      ['name', this.name.trim()],
      ['unknown_tags', this.unknownTags],
    ];
    if (Object.keys(this.mapping).length) fields.push(['mapping', JSON.stringify(this.mapping)]);
    const options: Record<string, unknown> = {};
    if (this.thresholds) options.thresholds = this.thresholds;
    if (!this.ignoreBand) options.ignore_band = false;
    if (this.segmentation) options.segmentation = {};
    if (Object.keys(options).length) fields.push(['options', JSON.stringify(options)]);
    return fields;
  }
}
