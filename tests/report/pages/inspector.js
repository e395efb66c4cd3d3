// A person who goes through the inspection page: runs inside it, and posts what was seen as JSON to ADDRESS.
(async () => {
  const found = { errors: [], pictures: [] };
  window.addEventListener("error", (e) => found.errors.push(e.message));
  const blobs = []; URL.createObjectURL = (blob) => { blobs.push(blob); return "#"; };
  const names = []; HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
  const items = [...document.querySelectorAll(".item")], ids = items.map((item) => item.id);
  for (const item of items) {
    const image = item.querySelector("img"); await image.decode();
    found.pictures.push([image.naturalWidth, image.naturalHeight]);
  }
  const pick = (id, verdict, reason) => {
    byId(id).querySelector(`input[value=${verdict}]`).click();
    const box = byId(id).querySelector("input[type=text]");
    box.value = reason; box.dispatchEvent(new Event("input"));
  };
  found.ids = ids;
  found.begun = byId("progress").textContent;
  byId("save").click(); found.early = byId("said").textContent;
  for (const id of ids) pick(id, "accept", "");
  pick(ids[0], "reject", "");
  byId("save").click(); found.reasonless = byId("said").textContent;
  found.marked = byId(ids[0]).className;
  pick(ids[0], "reject", "a seam <b>&amp; more</b>");
  found.kept = JSON.parse(localStorage.getItem(store))[ids[0]];
  byId("save").click(); found.said = byId("said").textContent;
  found.ended = byId("progress").textContent;
  found.download = names[names.length - 1];
  found.saved = JSON.parse(await blobs[blobs.length - 1].text());
  await fetch("ADDRESS", { method: "POST", mode: "no-cors", body: JSON.stringify(found) });
})();
