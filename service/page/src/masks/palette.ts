/** The VOC colour map, as in `model/photos/palette.py`, and the colours of scores, as in `model/photos/pictures.py`. */

export const BACKGROUND = 0;
export const IGNORE = 255;

type Colour = readonly [number, number, number];

/** Row i is the colour of mask index i. */
export const PALETTE: readonly Colour[] = Array.from({ length: 256 }, (_, index) => {
  const colour: [number, number, number] = [0, 0, 0];
  for (let bit = 0; bit < 8; bit++) {
    for (const channel of [0, 1, 2] as const)
      colour[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit);
  }
  return colour;
});

/** Mask index by colour, as `red << 16 | green << 8 | blue`. */
export const INDEX_OF_COLOUR: ReadonlyMap<number, number> = new Map(
  PALETTE.map(([red, green, blue], index) => [(red << 16) | (green << 8) | blue, index]),
);

export function cssColour(index: number): string {
  const [red, green, blue] = PALETTE[index] ?? [0, 0, 0];
  return `rgb(${red} ${green} ${blue})`;
}

// From indigo through magenta and orange to cream: dark is cold, and no two heights look alike in grey either.
const HEAT_ANCHORS: readonly Colour[] = [
  [13, 8, 60],
  [92, 18, 120],
  [178, 42, 104],
  [236, 98, 58],
  [250, 176, 50],
  [253, 250, 190],
];

/** 256 colours of scores 0..1 in equal perceived steps (OKLab, Ottosson 2020). */
export const HEAT: readonly Colour[] = heatColours();

function heatColours(): Colour[] {
  const anchors = HEAT_ANCHORS.map(oklab);
  const at = [0];
  for (let i = 1; i < anchors.length; i++) {
    const step = Math.hypot(...anchors[i]!.map((value, axis) => value - anchors[i - 1]![axis]!));
    at.push(at[i - 1]! + step);
  }
  const length = at.at(-1)!;
  return Array.from({ length: 256 }, (_, level) => {
    const position = (level / 255) * length;
    const after = Math.min(
      anchors.length - 1,
      Math.max(
        1,
        at.findIndex((value) => value >= position),
      ),
    );
    const share = (position - at[after - 1]!) / (at[after]! - at[after - 1]!);
    return rgb(
      anchors[after]!.map((value, axis) => anchors[after - 1]![axis]! * (1 - share) + value * share),
    );
  });
}

function oklab([red, green, blue]: Colour): number[] {
  const [r, g, b] = [red, green, blue].map((channel) => {
    const value = channel / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function rgb(lab: number[]): Colour {
  const [lightness, a, b] = lab as [number, number, number];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const encode = (linear: number): number => {
    const value = Math.min(1, Math.max(0, linear));
    return Math.round(255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055));
  };
  return [
    encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    encode(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}
