// What built applications do: styles, an asset within the script, a chunk loaded later, a worker,
// the service's own module, and a module that the dev server replaces while the page is open.
import { session } from "/bff/client.js";
import { message } from "./message.js";
import small from "./small.svg";
import "./style.css";

const show = (id, text) => { document.getElementById(id).textContent = text; };

show("message", message);
document.getElementById("small").src = small;
import("./lazy.js").then(({ lazy }) => show("lazy", lazy));
session().then(({ authenticated }) => show("session", authenticated ? "signed in" : "signed out"));
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
worker.onmessage = ({ data }) => show("worker", data);

if (import.meta.hot) {
  import.meta.hot.accept("./message.js", (replaced) => show("message", replaced.message));
}
