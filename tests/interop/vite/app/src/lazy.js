import "./lazy.css";

export const lazy = "came later";
