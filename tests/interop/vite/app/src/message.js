export const message = "first words";
