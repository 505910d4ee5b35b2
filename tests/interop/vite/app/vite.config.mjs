// The service's own module is there at run time: neither to be bundled nor to be looked for.
const bffClient = {
  name: "bff-client",
  enforce: "pre",
  resolveId: (id) => (id === "/bff/client.js" ? { id, external: true } : null),
};

export default { plugins: [bffClient], cacheDir: ".vite", build: { sourcemap: true } };
