/** What can be drawn over a photo. */

export type Shown = 'photo' | 'cam' | 'live' | 'stored' | 'segmentation';

/** One of them with its title. */
export type Choice = readonly [Shown, string];
