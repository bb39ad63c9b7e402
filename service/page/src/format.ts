/** Numbers, times and sizes for people. */

const WHOLE = new Intl.NumberFormat('en');
const ONE = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const TWO = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const MOMENT = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });

export const whole = (value: number) => WHOLE.format(value);
export const score = (value: number) => TWO.format(value);
export const percent = (share: number) =>
  share > 0 && share < 0.001 ? '<0.1 %' : `${ONE.format(100 * share)} %`;
export const moment = (time: string) => MOMENT.format(new Date(time));

export function plural(count: number, word: string): string {
  return `${WHOLE.format(count)} ${word}${count === 1 ? '' : 's'}`;
}

export function bytes(count: number): string {
  for (const [unit, size] of [
    ['GB', 1e9],
    ['MB', 1e6],
    ['kB', 1e3],
  ] as const) {
    if (count >= size) return `${ONE.format(count / size)} ${unit}`;
  }
  return `${count} B`;
}

export function duration(seconds: number): string {
  const rounded = Math.max(0, Math.round(seconds));
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
  return `${Math.floor(rounded / 3600)} h ${Math.floor((rounded % 3600) / 60)} min`;
}

export function ago(time: string, now = Date.now()): string {
  const seconds = (Date.parse(time) - now) / 1000;
  for (const [unit, size] of [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
  ] as const) {
    if (-seconds >= size) return RELATIVE.format(Math.round(seconds / size), unit);
  }
  return 'just now';
}

export function rate(imagesPerSecond: number): string {
  if (imagesPerSecond <= 0) return '–';
  if (imagesPerSecond >= 1) return `${ONE.format(imagesPerSecond)} photos/s`;
  return `${ONE.format(60 * imagesPerSecond)} photos/min`;
}
