// What every page has in common: times in the viewer's zone, countdowns, messages, questions before what cannot be
// undone, copying, light and dark. A page works without it, but for what is live.
(() => {
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

  const span = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  };

  const showTime = (element) => {
    const at = new Date(element.dateTime);
    if ("until" in element.dataset) {
      const left = (at - Date.now()) / 1000;
      element.textContent = left > 0 ? `in ${span(left)}` : `${span(-left)} ago`;
      element.classList.toggle("is-over", left <= 0);
    } else if ("ago" in element.dataset) {
      element.textContent = `${span((Date.now() - at) / 1000)} ago`;
    } else {
      const isToday = at.toDateString() === new Date().toDateString();
      element.textContent = (isToday ? timeOnly : local).format(at);
    }
  };
  // In a drawing there is no <time>.
  const showDrawnTime = (element) => {
    const at = new Date(element.dataset.time);
    const hands = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
    element.textContent = hands.format(at);
  };
  const showTimes = (root) => {
    root.querySelectorAll("time[datetime]").forEach(showTime);
    root.querySelectorAll("[data-time]").forEach(showDrawnTime);
  };
  setInterval(() => document.querySelectorAll("time[data-until], time[data-ago]").forEach(showTime), 1000);

  const toast = (message, kind = "success") => {
    const isShown = [...document.querySelectorAll("[data-toast]")].some((shown) => shown.textContent === message);
    if (isShown) return;
    const element = document.createElement("div");
    element.className = `toast-message alert alert-${kind}`;
    element.dataset.toast = kind;
    element.textContent = message;
    document.querySelector("[data-toasts]").append(element);
    leaveLater(element);
  };
  // A refusal stays until somebody has read it.
  const leaveLater = (element) => {
    element.addEventListener("click", () => element.remove());
    if (element.dataset.toast !== "danger") setTimeout(() => element.remove(), 6000);
  };

  const dialog = document.querySelector("[data-confirmation]");
  document.addEventListener("submit", (event) => {
    const form = event.target;
    // A form asks for all of its buttons, or one of them for itself.
    const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (!question || form.dataset.confirmed) return;
    event.preventDefault();
    dialog.querySelector("p").textContent = question;
    dialog.returnValue = "no";
    const wish = wishOf(form, event.submitter);
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return;
      const [asked, button] = stillOffered(wish) ?? [];
      if (!asked) return toast("The page has changed meanwhile; look again.", "danger");
      asked.dataset.confirmed = "yes";
      asked.requestSubmit(button);
    };
    dialog.showModal();
  });
  // What a form asks for, whichever drawing of it: the live part of a page may be drawn anew under an open question.
  const OF_A_DRAWING = ["csrf_token", "idempotency_key"];
  const wishOf = (form, button) => {
    const fields = [...new FormData(form)].filter(([name]) => !OF_A_DRAWING.includes(name));
    return JSON.stringify([form.getAttribute("action"), fields, button?.outerHTML ?? null]);
  };
  const stillOffered = (wish) => {
    for (const form of document.forms)
      for (const button of [...form.elements, null].filter((each) => !each || each.matches("button:not([type=button])")))
        if (wishOf(form, button) === wish) return [form, button];
  };
  // A double click must not look like two orders, even though the key makes one of them.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method === "dialog") return;
    const buttons = event.target.querySelectorAll("button:not([type=button])");
    setTimeout(() => buttons.forEach((button) => (button.disabled = true)));
  });
  addEventListener("pageshow", (event) => {
    // Back from another page: the browser shows this one as it was left.
    if (event.persisted) location.reload();
  });

  // Browsers give the clipboard to pages over HTTPS and to those of this machine; for others there is the old way.
  const copied = async (button) => {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
      button.after(field);
      field.select();
      const isDone = document.execCommand("copy");
      field.remove();
      button.focus();
      return isDone;
    }
  };
  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) (await copied(copy)) ? toast("Copied") : toast("This browser does not let pages copy.", "danger");
    if (event.target.closest("[data-theme-switch]")) {
      const next = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
      localStorage.setItem("theme", next);
      document.documentElement.dataset.bsTheme = next;
    }
  });

  // Several at once: all of a table, or none.
  document.querySelectorAll("[data-choose-all]").forEach((all) => {
    const boxes = [...all.closest("[data-choosable]").querySelectorAll("tbody input[type=checkbox]")];
    all.hidden = false;
    all.addEventListener("change", () => boxes.forEach((box) => (box.checked = all.checked)));
    boxes.forEach((box) => box.addEventListener("change", () => (all.checked = boxes.every((other) => other.checked))));
  });

  // A menu goes when somebody is done with it.
  const closeMenus = (but) => document.querySelectorAll("[data-closes][open]").forEach((menu) => menu !== but && (menu.open = false));
  document.addEventListener("click", (event) => closeMenus(event.target.closest("[data-closes]")));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus());

  const OUT_OF_DATE = "That did not work; the page may be out of date.";
  const OUT_OF_REACH = "The server cannot be reached; trying again.";
  document.addEventListener("htmx:responseError", () => toast(OUT_OF_DATE, "danger"));
  document.addEventListener("htmx:sendError", () => toast(OUT_OF_REACH, "danger"));
  // What has passed is not said any longer.
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (!event.detail.successful) return;
    document.querySelectorAll("[data-toast]").forEach((shown) => shown.textContent === OUT_OF_REACH && shown.remove());
  });
  document.addEventListener("htmx:afterSwap", (event) => showTimes(event.target));
  const live = document.querySelector("[data-live-state]");
  document.addEventListener("htmx:sseError", () => live && (live.hidden = false));
  document.addEventListener("htmx:sseOpen", () => live && (live.hidden = true));
  document.addEventListener("htmx:sseMessage", (event) => showTimes(event.target));
  document.querySelectorAll("[data-toast]").forEach(leaveLater);
  showTimes(document);
})();
