// What the browser keeps for us. Where it keeps nothing (cookies blocked), nothing is kept.

export const forThisTab = storage(() => sessionStorage);
export const forGood = storage(() => localStorage);

function storage(place) {
  return {
    get(name) {
      try {
        return place().getItem(name) ?? '';
      } catch {
        return '';
      }
    },
    // "" forgets it.
    set(name, value) {
      try {
        if (value) place().setItem(name, value);
        else place().removeItem(name);
      } catch {
        // it lasts until the page is left, then
      }
    },
  };
}
