// Tabs as the ARIA practices describe them: one stop for Tab, arrow keys between them.

export class Tabs {
  #tabs;
  #changed;

  // `changed` is called with the id of the panel that is now shown.
  constructor(list, changed) {
    this.#tabs = [...list.querySelectorAll('[role=tab]')];
    this.#changed = changed;
    for (const tab of this.#tabs) tab.addEventListener('click', () => this.#choose(tab));
    list.addEventListener('keydown', (event) => this.#moved(event));
    window.addEventListener('hashchange', () => this.#fromAddress());
    this.#fromAddress();
  }

  #moved(event) {
    const last = this.#tabs.length - 1;
    const now = this.#tabs.indexOf(document.activeElement);
    const next = {
      ArrowRight: now === last ? 0 : now + 1,
      ArrowLeft: now === 0 ? last : now - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (now < 0 || next === undefined) return;
    event.preventDefault();
    this.#choose(this.#tabs[next]);
    this.#tabs[next].focus();
  }

  // The address names the tab, so that it can be kept as a bookmark.
  #choose(tab) {
    history.replaceState(null, '', `#${tab.dataset.name}`);
    this.#show(tab);
  }

  #fromAddress() {
    const named = this.#tabs.find(({ dataset }) => `#${dataset.name}` === location.hash);
    this.#show(named ?? this.#tabs[0]);
  }

  #show(chosen) {
    for (const tab of this.#tabs) {
      const selected = tab === chosen;
      tab.setAttribute('aria-selected', String(selected));
      tab.tabIndex = selected ? 0 : -1;
      document.getElementById(tab.getAttribute('aria-controls')).hidden = !selected;
    }
    this.#changed(chosen.getAttribute('aria-controls'));
  }
}
