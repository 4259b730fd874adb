// Turns a card into a token at the payment provider. The card's fields have no names, so that the form cannot send
// them; only the token goes with it.
(() => {
  const form = document.querySelector("[data-card-form]");
  const card = form?.querySelector("[data-card]");
  if (!card) return;
  const token = card.querySelector("[data-card-token]");
  token.value = "";
  const trouble = card.querySelector("[data-card-trouble]");
  const fields = [...card.querySelectorAll("[data-card-field]")];
  const value = (name) => fields.find((field) => field.dataset.cardField === name).value.trim();
  const set = (name, text) => (fields.find((field) => field.dataset.cardField === name).value = text);

  const say = (text) => {
    trouble.textContent = text;
    trouble.hidden = !text;
  };
  const mark = (errors) => {
    for (const field of fields) {
      const words = errors[field.dataset.cardField];
      field.classList.toggle("is-invalid", Boolean(words));
      field.toggleAttribute("aria-invalid", Boolean(words));
      document.getElementById(field.getAttribute("aria-describedby")).textContent = words ? words.join(", ") : "";
    }
    fields.find((field) => errors[field.dataset.cardField])?.focus();
  };

  const tokenise = async () => {
    const [month, year] = value("expMonth").split("/");
    const said = { number: value("number"), expMonth: month?.trim() ?? "", expYear: year?.trim() ?? "", cvc: value("cvc") };
    const answer = await fetch(`${card.dataset.psp}/tokens`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(said),
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    const body = await answer.json();
    if (answer.status === 201) return body.token;
    mark(body.errors ?? {});
    say(answer.status === 422 ? "The provider does not take this card: see below." : "The provider cannot take cards at the moment. Try again soon.");
    return null;
  };

  const isByCard = () => (form.elements.way?.value ?? "card") === "card";
  // What is not to be seen must not be sent, nor keep the form from being sent.
  const chooseWay = () => {
    const other = form.elements.paymentMethod;
    if (other) other.disabled = form.elements.way.value !== "token";
  };
  form.addEventListener("change", chooseWay);
  chooseWay();
  form.addEventListener("submit", async (event) => {
    if (!isByCard() || token.value) return;
    event.preventDefault();
    const button = event.submitter;
    if (button) button.disabled = true;
    say("");
    mark({});
    try {
      const made = await tokenise();
      if (made) {
        token.value = made;
        fields.forEach((field) => (field.value = ""));
      }
    } catch {
      say("The payment provider cannot be reached. Nothing was sent.");
    }
    if (button) button.disabled = false;
    if (token.value) form.requestSubmit(button);
  });
  // Whoever types once more means another card.
  fields.forEach((field) => field.addEventListener("input", () => (token.value = "")));

  const shelf = document.querySelector("[data-test-cards]");
  const show = ({ cards, expMonth, expYear, cvc }) => {
    const entries = cards.map(({ number, behaviour }) => {
      const entry = document.createElement("li");
      const use = document.createElement("button");
      use.type = "button";
      use.className = "btn btn-sm test-card";
      use.textContent = number.replace(/(.{4})(?=.)/g, "$1 ");
      use.addEventListener("click", () => {
        set("number", number);
        set("expMonth", `${expMonth}/${expYear % 100}`);
        set("cvc", cvc);
        token.value = "";
        const way = form.querySelector("[name=way][value=card]");
        if (way) way.checked = true;
        chooseWay();
        form.querySelector("button:not([type=button])").focus();
      });
      const what = document.createElement("span");
      what.textContent = behaviour.replaceAll("_", " ");
      entry.append(use, what);
      return entry;
    });
    shelf.querySelector("[data-cards]").replaceChildren(...entries);
  };
  if (shelf) {
    fetch(shelf.dataset.testCards, { credentials: "omit", referrerPolicy: "no-referrer" })
      .then((answer) => answer.json())
      .then(show)
      .catch(() => (shelf.querySelector("[data-cards]").textContent = "The payment provider cannot be reached."));
  }
})();
