/** Light, dark, or as the system is. */

export type Theme = 'system' | 'light' | 'dark';
const SLOT = 'toco.theme';
const ORDER: readonly Theme[] = ['system', 'light', 'dark'];

class ThemeChoice {
  chosen = $state<Theme>(ORDER.find((name) => name === sessionStorage.getItem(SLOT)) ?? 'system');

  apply(): void {
    if (this.chosen === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.chosen;
  }

  next(): void {
    this.chosen = ORDER[(ORDER.indexOf(this.chosen) + 1) % ORDER.length] ?? 'system';
    sessionStorage.setItem(SLOT, this.chosen);
    this.apply();
  }
}

export const theme = new ThemeChoice();
