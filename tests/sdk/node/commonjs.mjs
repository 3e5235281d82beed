// Loads a package of CommonJS modules on a page, which a bundler would have done beforehand.

const packages = new URL('./node_modules/', import.meta.url);
const loaded = new Map();

// A module waits for those that it requires, so this cannot be done asynchronously.
function read(url) {
  const request = new XMLHttpRequest();
  request.open('GET', url, false);
  request.send();
  if (request.status !== 200) throw new Error(`${url}: ${request.status}`);
  return request.responseText;
}

function find(name, from) {
  let url = new URL(name, from).href;
  if (!name.startsWith('.')) {
    const place = new URL(`${name}/`, packages);
    const { browser, main } = JSON.parse(read(new URL('package.json', place)));
    url = new URL(typeof browser === 'string' ? browser : main, place).href;
  }
  if (url.endsWith('/')) return `${url}index.js`;
  return /\.js(on)?$/.test(url) ? url : `${url}.js`;
}

export function load(name, from = packages) {
  const url = find(name, from);
  let module = loaded.get(url);
  if (!module) {
    module = { exports: {} };
    loaded.set(url, module);
    const text = read(url);
    if (url.endsWith('.json')) module.exports = JSON.parse(text);
    else {
      const run = new Function('module', 'exports', 'require', text);
      run(module, module.exports, (next) => load(next, url));
    }
  }
  return module.exports;
}
